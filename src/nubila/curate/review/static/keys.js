// What each key does: one table for the keyboard and for the page that explains it.

// A key is written as KeyboardEvent has it, with "Ctrl+" before it where that is held.
function written(event) {
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  return event.ctrlKey || event.metaKey ? `Ctrl+${event.shiftKey ? "Shift+" : ""}${key}` : key;
}

const SHOWN = { ArrowRight: "→", ArrowLeft: "←", ArrowDown: "↓", ArrowUp: "↑", " ": "Space", Home: "Home", Escape: "Esc", "Ctrl+z": "Ctrl+Z", "Ctrl+y": "Ctrl+Y" };
const HIDDEN = ["=", "Ctrl+Shift+z"]; // known by those who use them

export class Keys {
  // `groups`: title -> list of [keys, what it does, run, whether it applies (optional)].
  constructor(groups) {
    this.groups = groups;
    document.addEventListener("keydown", (event) => this.pressed(event));
  }

  pressed(event) {
    const { target } = event;
    if (event.altKey || document.querySelector("dialog[open]")) return;
    if (target.matches("input[type=text], select")) return;
    // A slider keeps its arrows, a button its space and its Enter.
    if (target.matches("input[type=range]") && /^(Arrow|Home|End|Page)/.test(event.key)) return;
    if (target.matches("button") && [" ", "Enter"].includes(event.key)) return;
    const key = written(event);
    for (const entries of Object.values(this.groups)) {
      for (const [keys, , run, applies] of entries) {
        if (!keys.includes(key) || (applies && !applies())) continue;
        event.preventDefault();
        run(event);
        return;
      }
    }
  }

  explain(element) {
    const groups = Object.entries(this.groups).map(([title, entries]) => {
      const part = document.createElement("section");
      const head = document.createElement("h3");
      head.textContent = title;
      const list = document.createElement("dl");
      for (const [keys, what] of entries) {
        const term = document.createElement("dt");
        for (const key of keys.filter((name) => !HIDDEN.includes(name))) {
          const shown = document.createElement("kbd");
          shown.textContent = SHOWN[key] ?? (key.length === 1 ? key.toUpperCase() : key);
          term.append(shown);
        }
        const meaning = document.createElement("dd");
        meaning.textContent = what;
        list.append(term, meaning);
      }
      part.append(head, list);
      return part;
    });
    element.replaceChildren(...groups);
  }
}
