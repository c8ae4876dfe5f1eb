// The page: which sample is shown, what is decided of it, and what the buttons and keys do.

import { getJson, post, putBytes, remove } from "./api.js";
import { connect, shortcuts } from "./controls.js";
import { Drawing } from "./drawing.js";
import { Keys } from "./keys.js";
import { List } from "./list.js";
import { namesOf } from "./palette.js";
import * as panel from "./panel.js";
import { bandsOf, Samples } from "./samples.js";
import { Stage } from "./stage.js";

const { find, all, say } = panel;
const AHEAD = [1, 2, -1, 3]; // places from here, in the order in which they are fetched

const review = await getJson("/api/review");
const { samples: entries, classes } = review;
const samples = new Samples();
const stage = new Stage(find("#view"), classes);
const drawing = new Drawing(stage, { changed: keepDraft, hover: probe });
const list = new List(find("#list"), open);

let numbers = []; // of the samples in the list
let current = null; // number of the sample that is shown
let picture = "true colour";
let stretch = review.stretches[0];
let kept = Promise.resolve(); // of the last draft
let queue = Promise.resolve(); // of what is being written
let deciding = null; // number of the sample that is being decided on
let failed = null; // number of the sample that cannot be shown

// --- moving about ------------------------------------------------------------------------------

const isOpen = (entry) => !entry.action || entry.changed.length > 0;
const FILTERS = {
  open: isOpen,
  changed: (entry) => entry.changed.length > 0,
  decided: (entry) => Boolean(entry.action),
  all: () => true,
};

function filter(name) {
  numbers = entries.map((_, number) => number).filter((number) => FILTERS[name](entries[number]));
  list.show(entries, numbers);
  find("#empty").hidden = numbers.length > 0;
  if (!numbers.length) {
    current = null;
    drawing.stop();
    stage.clear();
    showState();
  } else if (!numbers.includes(current)) {
    open(numbers[0]);
  } else {
    list.select(current);
  }
}

async function open(number) {
  const start = performance.now();
  if (number !== current) {
    drawing.stop();
    find("#why").value = ""; // a remark belongs to the sample that it was written at
  }
  current = number;
  list.select(number);
  history.replaceState(null, "", `#${encodeURIComponent(entries[number].id)}`);
  try {
    const sample = await samples.sample(number, entries[number]);
    const bands = bandsOf(sample, picture);
    const bitmap = await samples.picture(number, bands, stretch);
    if (number !== current) return; // the reader is elsewhere by now
    show(number, sample, bitmap, start);
  } catch (error) {
    if (number !== current) return;
    failed = number;
    stage.clear();
    showState();
    say(`${entries[number].id}: ${error.message}`, true);
  }
  prefetch();
}

function show(number, sample, bitmap, start) {
  stage.drawn = () => {
    const took = performance.now() - start;
    Object.assign(stage.view.canvas.dataset, { shown: entries[number].id, took: took.toFixed(1) });
    stage.drawn = () => {};
  };
  probe(null);
  const sets = sample.draft ?? sample.decided ?? sample.original;
  stage.show(sample, bitmap, sets);
  if (sample.draft) {
    drawing.start(sample, sets);
    say("a draft of a fix was kept");
  }
  stage.view.canvas.setAttribute("aria-label", `Image of ${entries[number].id}`);
  panel.fillSelect(find("#picture"), Object.keys(sample.pictures), picture);
  panel.showSample(entries[number], sample);
  showState();
}

function prefetch() {
  const place = numbers.indexOf(current);
  for (const step of AHEAD) {
    const number = numbers[place + step];
    if (number === undefined) continue;
    const ready = samples.sample(number, entries[number]);
    ready.then((sample) => samples.picture(number, bandsOf(sample, picture), stretch)).catch(() => {});
  }
}

function step(by) {
  if (current === null) return;
  const number = numbers[numbers.indexOf(current) + by];
  if (number === undefined) say(by > 0 ? "this is the last of the list" : "this is the first of the list");
  else open(number);
}

// --- deciding ----------------------------------------------------------------------------------

// One thing after the other, as the keys were pressed.
const inOrder = (work) => (queue = queue.then(work).catch((error) => say(error.message, true)));

// Nothing is decided of a sample that is not seen yet, nor twice by a key that is held down.
function mayDecide(action) {
  if (current === null || current === deciding) return false;
  return stage.sample ? stage.sample.number === current : failed === current && action === "drop";
}

function decide(action) {
  const number = current;
  if (!mayDecide(action)) return;
  if (action === "prediction" && !stage.sample.prediction) {
    say("there is no prediction", true);
    return;
  }
  deciding = number;
  inOrder(() => settle(number, action).finally(() => (deciding = null)));
}

async function settle(number, action) {
  await kept;
  if (action === "fix") await putBytes(`/api/samples/${number}/draft`, stage.sets);
  const body = { action, why: find("#why").value };
  Object.assign(entries[number], await post(`/api/samples/${number}/decision`, body));
  find("#why").value = "";
  samples.forget(number);
  panel.showProgress(entries);
  if (number !== current) {
    list.render();
    return; // the reader went on
  }
  drawing.stop();
  if (numbers.indexOf(number) < numbers.length - 1) {
    step(1);
  } else {
    await open(number);
    say("this was the last of the list");
  }
}

const undo = () =>
  inOrder(async () => {
    await kept;
    const { number, id, undone, ...state } = await post("/api/undo");
    if (id === null) throw new Error("nothing is decided yet");
    if (number === null) {
      say(`took back: ${undone} of ${id}, which is not in this list`);
      return;
    }
    Object.assign(entries[number], state);
    samples.forget(number);
    panel.showProgress(entries);
    if (!numbers.includes(number)) {
      find("#filter").value = "all";
      filter("all");
    }
    await open(number);
    say(`took back: ${undone}`);
  });

const write = () =>
  inOrder(async () => {
    const { rows, path } = await post("/api/export");
    say(`${rows} decisions in ${path}`);
  });

// --- drawing -----------------------------------------------------------------------------------

function fix() {
  if (!stage.sample) return;
  if (drawing.active) {
    drawing.cancel();
    stopDrawing();
  } else {
    drawing.start(stage.sample, stage.sets);
  }
  showState();
}

// Leaves the tools; what was drawn stays as a draft.
function stopDrawing() {
  const { sets } = stage;
  const changed = drawing.editor.canUndo || stage.sample.draft;
  drawing.stop();
  if (changed) stage.sample.draft = sets;
}

function keepDraft() {
  const number = current;
  const bytes = drawing.editor.sets.slice();
  stage.sample.draft = bytes;
  const done = kept.then(() => putBytes(`/api/samples/${number}/draft`, bytes));
  kept = done.catch((error) => say(`the draft is not kept: ${error.message}`, true));
  showState();
}

function restroke(rect) {
  if (!rect) return;
  stage.repaint(rect);
  keepDraft();
}

const undoStroke = () => restroke(drawing.editor.undo());
const redoStroke = () => restroke(drawing.editor.redo());

const startOver = () =>
  inOrder(async () => {
    await kept;
    await remove(`/api/samples/${current}/draft`);
    stage.sample.draft = null;
    drawing.cancel();
    drawing.start(stage.sample, stage.sample.decided ?? stage.sample.original);
    showState();
  });

function choose(code, more) {
  if (!drawing.active) return;
  if (code === "ignored") drawing.set = 0;
  else if (more) drawing.set ^= 1 << code;
  else drawing.set = 1 << code;
  showState();
}

function tune(by) {
  if (drawing.tool === "wand") drawing.tolerance = Math.min(Math.max(drawing.tolerance + 4 * by, 0), 120);
  else drawing.radius = Math.min(Math.max(drawing.radius + by * (drawing.radius > 10 ? 4 : 1), 0), 60);
  showState();
}

function probe(point) {
  const shown = find("#probe");
  const { sample } = stage;
  const [row, column] = point ? [Math.floor(point.y), Math.floor(point.x)] : [-1, -1];
  if (!sample || row < 0 || column < 0 || row >= sample.rows || column >= sample.columns) {
    shown.textContent = "";
    return;
  }
  const i = row * sample.columns + column;
  const parts = [`row ${row}, column ${column}`, `label: ${namesOf(stage.sets[i], classes)}`];
  if (sample.prediction) parts.push(`prediction: ${namesOf(sample.prediction[i], classes)}`);
  shown.textContent = parts.join("   ·   ");
}

// --- view --------------------------------------------------------------------------------------

async function repicture() {
  const number = current;
  if (!stage.sample) return;
  try {
    const bitmap = await samples.picture(number, bandsOf(stage.sample, picture), stretch);
    if (number === current) stage.setPicture(bitmap);
    prefetch();
  } catch (error) {
    say(error.message, true);
  }
  showState();
}

function setPicture(name) {
  picture = name;
  find("#picture").value = name;
  repicture();
}

// Goes on to the next picture of a kind: composites, or single bands.
function cycle(single) {
  if (!stage.sample) return;
  const found = Object.entries(stage.sample.pictures).filter(([, bands]) => (bands.length === 1) === single);
  const names = found.map(([name]) => name).filter((name) => single || name !== "true colour");
  if (names.length) setPicture(names[(names.indexOf(picture) + 1) % names.length]);
  else say("this image has no bands for a false colour");
}

function setStretch(name) {
  stretch = name;
  repicture();
}

function nextStretch() {
  setStretch(review.stretches[(review.stretches.indexOf(stretch) + 1) % review.stretches.length]);
}

function toggle(values, value) {
  if (!values.delete(value)) values.add(value);
}

function toggleLayer(name) {
  toggle(stage.visible, name);
  showState();
}

function setOutline() {
  stage.outline = !stage.outline;
  stage.repaint();
  showState();
}

function setPanes() {
  stage.setPanes(stage.view.panes === 1);
  showState();
}

function setOpacity(percent) {
  stage.opacity = Math.min(Math.max(percent, 0), 100) / 100;
  showState();
}

function setTool(tool) {
  drawing.use(tool);
  showState();
}

function setErase(erase) {
  drawing.erase = erase;
  showState();
}

function setRadius(radius) {
  drawing.radius = radius;
  showState();
}

function setTolerance(tolerance) {
  drawing.tolerance = tolerance;
  showState();
}

function peek(on) {
  stage.peek = on;
  stage.view.request();
}

// Everything that the controls say, after anything that may have changed it.
function showState() {
  const entry = current === null ? null : entries[current];
  panel.showDecision(entry, Boolean(stage.sample?.prediction), drawing.active);
  panel.showClasses(stage.hidden, drawing.set, drawing.active);
  find("#tools").hidden = !drawing.active;
  find("#hint").textContent = drawing.active ? hint() : "";
  for (const button of all("[data-tool]")) {
    button.setAttribute("aria-checked", String(button.dataset.tool === drawing.tool));
  }
  for (const button of all("[data-mode]")) {
    button.setAttribute("aria-checked", String((button.dataset.mode === "erase") === drawing.erase));
  }
  for (const button of all("[data-layer]")) {
    const name = button.dataset.layer;
    button.setAttribute("aria-pressed", String(stage.visible.has(name)));
    button.disabled = name !== "label" && !stage.sample?.prediction;
  }
  find("#undo-stroke").disabled = !drawing.editor?.canUndo;
  find("#redo-stroke").disabled = !drawing.editor?.canRedo;
  find("#outline").setAttribute("aria-pressed", String(stage.outline));
  find("#panes").setAttribute("aria-pressed", String(stage.view.panes > 1));
  find("#stretch").value = stretch;
  find("#difference-key").hidden = !(stage.visible.has("difference") || stage.view.panes > 1);
  slider("#opacity", Math.round(stage.opacity * 100), "%");
  slider("#radius", drawing.radius, " px");
  slider("#tolerance", drawing.tolerance, "");
  stage.view.request();
}

function slider(selector, value, unit) {
  find(selector).value = value;
  find(`${selector}-value`).textContent = `${value}${unit}`;
}

function hint() {
  const what = drawing.erase ? "erase" : "draw";
  const words = {
    brush: `Brush: drag to ${what}; [ ] for its size`,
    polygon: `Polygon: click corners to ${what}; Enter closes it, Backspace takes a corner back`,
    wand: `Wand: click to ${what} what looks alike; drag sideways to tune; Shift for everywhere`,
  };
  return `${words[drawing.tool]} · right button moves`;
}

// --- starting ----------------------------------------------------------------------------------

function enter() {
  if (drawing.points.length) drawing.closePolygon();
  else decide("fix");
}

function escape() {
  if (!drawing.cancel()) fix();
}

const act = {
  choose,
  cycle,
  decide,
  enter,
  escape,
  filter,
  fix,
  nextStretch,
  peek,
  redoStroke,
  setErase,
  setOpacity,
  setOutline,
  setPanes,
  setPicture,
  setRadius,
  setStretch,
  setTolerance,
  setTool,
  startOver,
  step,
  toggleLayer,
  tune,
  undo,
  undoStroke,
  write,
};

function start() {
  document.title = `${review.title} · nubila review`;
  find("#title").textContent = review.title;
  find("#who").textContent = review.who;
  new Keys(shortcuts(act, { stage, drawing, classes })).explain(find("#keys"));
  connect(act);
  panel.makeDifferenceKey();
  panel.makeClasses(classes, {
    toggle: (code) => {
      toggle(stage.hidden, code);
      stage.repaint();
      showState();
    },
    choose,
  });
  panel.fillSelect(find("#stretch"), review.stretches, stretch);
  panel.showProgress(entries);
  drawing.tuned = showState;
  const wanted = decodeURIComponent(location.hash.slice(1));
  const number = entries.findIndex(({ id }) => id === wanted);
  if (number >= 0 && !isOpen(entries[number])) find("#filter").value = "all";
  current = number >= 0 ? number : null;
  filter(find("#filter").value);
  if (current !== null && current === number) open(number);
}

start();
