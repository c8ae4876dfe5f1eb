// Pointer and tools: panning, zooming, brush, polygon and wand.

import { Editor } from "./editor.js";

const CLOSE = 9; // CSS pixels from a polygon's first corner that count as on it

export class Drawing {
  // `changed` is called at the end of each stroke, `hover` with a point of the image or null.
  constructor(stage, { changed, hover }) {
    this.stage = stage;
    this.canvas = stage.view.canvas;
    this.editor = null;
    this.tool = "brush";
    this.erase = false;
    this.set = 0b10; // of classes that are drawn
    this.radius = 8;
    this.tolerance = 24;
    this.points = [];
    this.action = null;
    this.changed = changed;
    this.hover = hover;
    this.listen();
  }

  get active() {
    return this.editor !== null;
  }

  start(sample, sets) {
    this.editor = new Editor(sets, sample.rows, sample.columns);
    this.stage.sets = this.editor.sets;
    this.stage.repaint();
    this.canvas.classList.add("drawing");
  }

  stop() {
    this.cancel();
    this.editor = null;
    this.stage.sketch = null;
    this.canvas.classList.remove("drawing");
    this.stage.view.request();
  }

  cancel() {
    const open = this.points.length > 0;
    this.points = [];
    this.sketch(null);
    return open;
  }

  use(tool) {
    this.cancel();
    this.tool = tool;
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => {
      this.hover(null);
      if (!this.points.length) this.sketch(null);
    });
    canvas.addEventListener("dblclick", () => this.active && this.closePolygon());
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    const wheel = (event) => {
      event.preventDefault();
      const step = event.deltaMode === 1 ? event.deltaY * 16 : event.deltaY;
      this.stage.view.zoom(Math.exp(-step / 320), this.stage.view.at(event));
    };
    canvas.addEventListener("wheel", wheel, { passive: false });
  }

  down(event) {
    if (!this.stage.sample) return;
    this.canvas.setPointerCapture(event.pointerId);
    const point = this.stage.view.at(event);
    const draws = this.active && event.button === 0 && !event.ctrlKey && !this.panning;
    if (!draws) {
      this.action = { kind: "pan", x: event.clientX, y: event.clientY };
      this.canvas.classList.add("panning");
    } else if (this.tool === "polygon") {
      this.addCorner(point);
    } else if (this.tool === "brush") {
      this.editor.begin(this.set, this.erase);
      this.action = { kind: "brush", last: point };
      this.stage.repaint(this.editor.line(point, point, this.radius) ?? undefined);
    } else {
      this.startWand(event, point);
    }
  }

  move(event) {
    const point = this.stage.view.at(event);
    this.hover(this.stage.sample ? point : null);
    const { action } = this;
    if (action?.kind === "pan") {
      this.stage.view.pan(event.clientX - action.x, event.clientY - action.y);
      Object.assign(action, { x: event.clientX, y: event.clientY });
    } else if (action?.kind === "brush") {
      const rect = this.editor.line(action.last, point, this.radius);
      action.last = point;
      if (rect) this.stage.repaint(rect);
    } else if (action?.kind === "wand") {
      const tolerance = action.tolerance + Math.round((event.clientX - action.x) / 3);
      this.wand(Math.min(Math.max(tolerance, 0), 120));
    }
    if (this.active) this.sketch(point);
  }

  up(event) {
    const { action } = this;
    this.action = null;
    this.canvas.classList.remove("panning");
    if (this.canvas.hasPointerCapture(event.pointerId)) {
      this.canvas.releasePointerCapture(event.pointerId);
    }
    if (action && action.kind !== "pan") this.finish();
  }

  finish() {
    if (this.editor.end()) this.changed();
  }

  sketch(cursor) {
    const polygon = this.tool === "polygon";
    const radius = this.tool === "brush" ? this.radius : undefined;
    const shown = this.active && (cursor || this.points.length);
    this.stage.sketch = shown ? { cursor, points: polygon ? this.points : null, radius } : null;
    this.stage.view.request();
  }

  addCorner(point) {
    const [first] = this.points;
    const near = (CLOSE * (window.devicePixelRatio || 1)) / this.stage.view.scale;
    const closes = this.points.length > 2 && Math.hypot(first.x - point.x, first.y - point.y) < near;
    if (closes) {
      this.closePolygon();
    } else {
      this.points.push(point);
      this.sketch(point);
    }
  }

  removeCorner() {
    this.points.pop();
    this.sketch(null);
  }

  closePolygon() {
    const points = this.points;
    this.points = [];
    this.sketch(null);
    if (points.length < 3) return false;
    this.editor.begin(this.set, this.erase);
    const rect = this.editor.polygon(points);
    if (rect) this.stage.repaint(rect);
    this.finish();
    return true;
  }

  startWand(event, point) {
    const { rows, columns } = this.stage.sample;
    const [row, column] = [Math.floor(point.y), Math.floor(point.x)];
    if (row < 0 || column < 0 || row >= rows || column >= columns) return;
    this.editor.begin(this.set, this.erase);
    const seed = row * columns + column;
    const contiguous = !event.shiftKey;
    this.action = { kind: "wand", seed, contiguous, x: event.clientX, tolerance: this.tolerance };
    this.wand(this.tolerance);
  }

  wand(tolerance) {
    const { action } = this;
    if (tolerance === action.used) return;
    action.used = tolerance;
    this.tolerance = tolerance;
    const pixels = this.stage.pixels;
    const rect = this.editor.similar(pixels, action.seed, tolerance, action.contiguous);
    if (rect) this.stage.repaint(rect);
    this.tuned?.();
  }
}
