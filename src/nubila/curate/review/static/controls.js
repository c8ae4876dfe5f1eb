// What sets off what: the table of keys, and the buttons. `act` holds what the page can do.

import { all, find } from "./panel.js";

// Groups for `Keys`: title -> list of [keys, what it does, run, whether it applies (optional)].
export function shortcuts(act, { stage, drawing, classes }) {
  const inTools = () => drawing.active;
  const drawn = (code) => [[String(code + 1)], classes[code].name, () => act.choose(code, false), inTools];

  return {
    Deciding: [
      [["k"], "Keep the label", () => act.decide("keep")],
      [["x"], "Drop the sample", () => act.decide("drop")],
      [["p"], "Use the prediction as label", () => act.decide("prediction")],
      [["f"], "Fix: draw, or leave the tools", act.fix],
      [["/"], "Write why", () => find("#why").focus()],
      [["u"], "Undo the last decision", act.undo],
      [["ArrowRight", "ArrowDown", " "], "Next", () => act.step(1)],
      [["ArrowLeft", "ArrowUp"], "Previous", () => act.step(-1)],
      [["?"], "These keys", () => find("#help").showModal()],
    ],
    Viewing: [
      [["t"], "True colour", () => act.setPicture("true colour")],
      [["c"], "Next false colour", () => act.cycle(false)],
      [["v"], "Next single band", () => act.cycle(true)],
      [["s"], "Next stretch", act.nextStretch],
      [["l"], "Label", () => act.toggleLayer("label")],
      [["o"], "Prediction", () => act.toggleLayer("prediction")],
      [["d"], "Difference", () => act.toggleLayer("difference")],
      [["h"], "Hold: image alone", () => act.peek(true)],
      [["q"], "Outline or fill", act.setOutline],
      [["m"], "Side by side", act.setPanes],
      [[",", "."], "Opacity", (event) => act.setOpacity(stage.opacity * 100 + (event.key === "." ? 10 : -10))],
      [["+", "=", "-"], "Zoom", (event) => stage.view.zoom(event.key === "-" ? 1 / 1.4 : 1.4)],
      [["Home"], "Whole image", () => stage.view.fit()],
    ],
    Fixing: [
      [["b"], "Brush", () => act.setTool("brush"), inTools],
      [["y"], "Polygon", () => act.setTool("polygon"), inTools],
      [["w"], "Wand", () => act.setTool("wand"), inTools],
      [["e"], "Add or erase", () => act.setErase(!drawing.erase), inTools],
      [["[", "]"], "Size or similarity", (event) => act.tune(event.key === "]" ? 1 : -1), inTools],
      ...classes.map(({ code }) => drawn(code)),
      [["0"], "Ignored", () => act.choose("ignored", false), inTools],
      [["Ctrl+z"], "Undo a stroke", act.undoStroke, inTools],
      [["Ctrl+y", "Ctrl+Shift+z"], "Redo it", act.redoStroke, inTools],
      [["Backspace"], "Take a corner back", () => drawing.removeCorner(), inTools],
      [["Enter"], "Close the polygon, or save", act.enter, inTools],
      [["Escape"], "Leave; the draft stays", act.escape, inTools],
    ],
  };
}

const on = (selector, event, run) => find(selector).addEventListener(event, run);

export function connect(act) {
  document.addEventListener("keyup", (event) => event.key.toLowerCase() === "h" && act.peek(false));
  window.addEventListener("blur", () => act.peek(false));
  for (const button of all("[data-action]")) {
    const { action } = button.dataset;
    button.addEventListener("click", () => (action === "fix" ? act.fix() : act.decide(action)));
  }
  for (const button of all("[data-layer]")) {
    button.addEventListener("click", () => act.toggleLayer(button.dataset.layer));
  }
  for (const button of all("[data-tool]")) button.addEventListener("click", () => act.setTool(button.dataset.tool));
  for (const button of all("[data-mode]")) {
    button.addEventListener("click", () => act.setErase(button.dataset.mode === "erase"));
  }
  on("#undo", "click", act.undo);
  on("#next", "click", () => act.step(1));
  on("#previous", "click", () => act.step(-1));
  on("#export", "click", act.write);
  on("#help-button", "click", () => find("#help").showModal());
  on("#filter", "change", (event) => act.filter(event.target.value));
  on("#picture", "change", (event) => act.setPicture(event.target.value));
  on("#stretch", "change", (event) => act.setStretch(event.target.value));
  on("#outline", "click", act.setOutline);
  on("#panes", "click", act.setPanes);
  on("#opacity", "input", (event) => act.setOpacity(Number(event.target.value)));
  on("#radius", "input", (event) => act.setRadius(Number(event.target.value)));
  on("#tolerance", "input", (event) => act.setTolerance(Number(event.target.value)));
  on("#undo-stroke", "click", act.undoStroke);
  on("#redo-stroke", "click", act.redoStroke);
  on("#reset", "click", act.startOver);
  on("#save-fix", "click", () => act.decide("fix"));
  on("#why", "keydown", (event) => {
    if (["Enter", "Escape"].includes(event.key)) event.target.blur();
  });
  for (const select of all("select")) select.addEventListener("change", () => select.blur());
}
