// The panel on the right, the bar of decisions and the message: what they show.

import { DIFFERENCE, ignoredColour } from "./palette.js";

const WORDS = { keep: "kept", drop: "dropped", prediction: "used the prediction", fix: "fixed" };

export const find = (selector) => document.querySelector(selector);
export const all = (selector) => [...document.querySelectorAll(selector)];

function element(tag, text = "", name = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

let timer = 0;

export function say(text, bad = false) {
  const message = find("#message");
  message.textContent = text;
  message.className = bad ? "shown bad" : "shown";
  clearTimeout(timer);
  timer = setTimeout(() => (message.className = ""), bad ? 8000 : 2200);
}

export function showSample(entry, sample) {
  find("#name").textContent = entry.id;
  const changed = entry.changed.length ? `${entry.changed.join(" and ")} changed since decided` : "";
  find("#reason").textContent = [changed, entry.reason].filter(Boolean).join("; ");
  const facts = {
    score: entry.score === null ? "" : entry.score.toFixed(4),
    size: `${sample.rows} × ${sample.columns}`,
    resolution: sample.resolution ? `${Number(sample.resolution.toPrecision(4))} m` : "",
    sensor: [sample.sensor, sample.level].filter((part) => part && part !== "unknown").join(", "),
    split: sample.split,
    ...sample.tags,
  };
  const shown = Object.entries(facts).filter(([, text]) => text);
  const parts = shown.flatMap(([name, text]) => [element("dt", name), element("dd", text)]);
  find("#facts").replaceChildren(...parts);
  find("#history").replaceChildren(...sample.history.map(historyLine));
}

function historyLine({ who, action, time, why }) {
  const line = element("li");
  const when = new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  line.append(element("b", WORDS[action], action), ` by ${who} `, element("small", when));
  if (why) line.append(element("div", `“${why}”`));
  return line;
}

export function showDecision(entry, hasPrediction, drawing) {
  for (const button of all("[data-action]")) {
    button.setAttribute("aria-current", String(button.dataset.action === entry?.action));
    button.disabled = !entry || (button.dataset.action === "prediction" && !hasPrediction);
  }
  find("[data-action=fix]").setAttribute("aria-pressed", String(drawing));
}

export function showProgress(entries) {
  const done = entries.filter(({ action, changed }) => action && !changed.length).length;
  const bar = find(".progress");
  bar.setAttribute("aria-valuemax", String(entries.length));
  bar.setAttribute("aria-valuenow", String(done));
  bar.firstElementChild.style.width = `${(100 * done) / Math.max(entries.length, 1)}%`;
  find("#count").textContent = `${done} of ${entries.length}`;
}

// The list of classes: each with a swatch that hides it and a name that is chosen for drawing.
export function makeClasses(classes, { toggle, choose }) {
  const rows = [...classes, { code: "ignored", name: "ignored", colour: ignoredColour }];
  const made = rows.map(({ code, name, colour }) => {
    const row = element("li");
    row.dataset.code = code;
    const swatch = element("button", "", "swatch");
    swatch.type = "button";
    swatch.append(element("i"));
    swatch.style.setProperty("--c", `rgb(${colour.join(",")})`);
    swatch.setAttribute("aria-label", `Show ${name}`);
    swatch.title = `Show or hide ${name}`;
    swatch.addEventListener("click", () => toggle(code));
    const button = element("button", `${name} `, "name");
    button.type = "button";
    button.append(element("kbd", code === "ignored" ? "0" : String(code + 1)));
    button.addEventListener("click", (event) => choose(code, event.shiftKey));
    row.append(swatch, button);
    return row;
  });
  find("#classes").replaceChildren(...made);
}

export function showClasses(hidden, set, drawing) {
  find("#class-hint").textContent = drawing ? "(Shift adds to a set)" : "";
  for (const row of all("#classes li")) {
    const code = row.dataset.code === "ignored" ? "ignored" : Number(row.dataset.code);
    const chosen = drawing && (code === "ignored" ? set === 0 : Boolean((set >> code) & 1));
    row.classList.toggle("chosen", chosen);
    const [swatch, button] = row.children;
    swatch.setAttribute("aria-pressed", String(!hidden.has(code)));
    button.setAttribute("aria-pressed", String(chosen));
    button.disabled = !drawing;
  }
}

export function makeDifferenceKey() {
  const rows = DIFFERENCE.filter(([, colour]) => colour).map(([name, colour]) => {
    const row = element("li");
    const swatch = element("i");
    swatch.style.setProperty("--c", `rgb(${colour.join(",")})`);
    row.append(swatch, name);
    return row;
  });
  find("#difference-key").replaceChildren(...rows);
}

export function fillSelect(select, names, chosen) {
  const options = names.map((name) => {
    const option = element("option", name);
    option.value = name;
    return option;
  });
  select.replaceChildren(...options);
  select.value = names.includes(chosen) ? chosen : names[0];
}
