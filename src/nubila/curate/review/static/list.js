// The list of samples; only the rows that are in sight exist.

const HEIGHT = 44;
const MARGIN = 6;
const WORDS = { keep: "kept", drop: "dropped", prediction: "prediction", fix: "fixed" };

export class List {
  constructor(element, open) {
    this.element = element;
    this.inner = element.firstElementChild;
    this.open = open;
    this.numbers = [];
    this.samples = [];
    this.selected = null;
    element.addEventListener("scroll", () => this.render(), { passive: true });
    element.addEventListener("click", (event) => {
      const row = event.target.closest(".item");
      if (row) this.open(Number(row.dataset.number));
    });
    new ResizeObserver(() => this.render()).observe(element);
  }

  show(samples, numbers) {
    this.samples = samples;
    this.numbers = numbers;
    this.inner.style.height = `${numbers.length * HEIGHT}px`;
    this.element.scrollTop = 0;
    this.render();
  }

  select(number) {
    this.selected = number;
    const top = this.numbers.indexOf(number) * HEIGHT;
    const { scrollTop, clientHeight } = this.element;
    if (top >= 0 && (top < scrollTop || top + HEIGHT > scrollTop + clientHeight)) {
      this.element.scrollTop = top - clientHeight / 2 + HEIGHT / 2;
    }
    this.render();
  }

  render() {
    const { scrollTop, clientHeight } = this.element;
    const first = Math.max(Math.floor(scrollTop / HEIGHT) - MARGIN, 0);
    const end = Math.min(Math.ceil((scrollTop + clientHeight) / HEIGHT) + MARGIN, this.numbers.length);
    const rows = [];
    for (let place = first; place < end; place++) rows.push(this.row(place));
    this.inner.replaceChildren(...rows);
    const chosen = this.numbers.includes(this.selected) ? `item-${this.selected}` : "";
    this.element.setAttribute("aria-activedescendant", chosen);
  }

  row(place) {
    const number = this.numbers[place];
    const sample = this.samples[number];
    const row = document.createElement("div");
    row.className = "item";
    row.id = `item-${number}`;
    row.dataset.number = number;
    row.style.top = `${place * HEIGHT}px`;
    row.title = sample.id;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(number === this.selected));
    row.setAttribute("aria-setsize", String(this.numbers.length));
    row.setAttribute("aria-posinset", String(place + 1));
    const add = (tag, text, name = "") => {
      const part = document.createElement(tag);
      part.textContent = text;
      part.className = name;
      row.append(part);
    };
    // The left-to-right mark keeps a path in order where its start is cut off.
    add("b", `\u200e${sample.id}`);
    add("small", sample.score === null ? "" : sample.score.toFixed(3), "score");
    add("small", sample.reason);
    const state = sample.changed.length ? "changed" : (WORDS[sample.action] ?? "");
    add("small", state, sample.changed.length ? "" : (sample.action ?? ""));
    return row;
  }
}
