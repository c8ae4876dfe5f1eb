// A label that is being drawn: strokes, each of which can be taken back.

import { fillPolygon, fillSimilar, strokeLine } from "./shapes.js";

const MOST_STROKES = 200;

const joined = (a, b) =>
  a && b
    ? {
        left: Math.min(a.left, b.left),
        top: Math.min(a.top, b.top),
        right: Math.max(a.right, b.right),
        bottom: Math.max(a.bottom, b.bottom),
      }
    : a || b;

export class Editor {
  #done = [];
  #undone = [];
  #before = null;
  #rect = null;

  constructor(sets, rows, columns) {
    this.sets = sets.slice();
    this.rows = rows;
    this.columns = columns;
  }

  get canUndo() {
    return this.#done.length > 0;
  }

  get canRedo() {
    return this.#undone.length > 0;
  }

  // A stroke starts: `set` of classes is added, which replaces what was there, or taken away, which
  // leaves the other classes of a pixel, or nothing, which is ignored.
  begin(set, erase) {
    this.#before = this.sets.slice();
    this.#rect = null;
    this.#put = erase ? (i) => (this.sets[i] &= ~set) : (i) => (this.sets[i] = set);
  }

  #put = () => {};

  // Each of these returns the rectangle that is to be painted anew, or null.
  line(from, to, radius) {
    return this.#note(strokeLine(from, to, radius, this.rows, this.columns, this.#put));
  }

  polygon(points) {
    return this.#note(fillPolygon(points, this.rows, this.columns, this.#put));
  }

  similar(picture, seed, tolerance, contiguous) {
    const old = this.#rect;
    if (old) this.#copy(this.#before, old); // the tolerance changed: start from what was there
    this.#rect = null;
    const { rows, columns } = this;
    const found = fillSimilar(picture, seed, tolerance, contiguous, rows, columns, this.#put);
    this.#note(found);
    return joined(old, found);
  }

  // The stroke ends; returns whether anything changed.
  end() {
    const rect = this.#rect;
    const before = this.#before;
    this.#before = null;
    if (!rect || !before) return false;
    const stroke = { rect, old: this.#cut(before, rect), new: this.#cut(this.sets, rect) };
    if (stroke.old.every((value, i) => value === stroke.new[i])) return false;
    this.#done.push(stroke);
    if (this.#done.length > MOST_STROKES) this.#done.shift();
    this.#undone = [];
    return true;
  }

  undo() {
    const stroke = this.#done.pop();
    if (!stroke) return null;
    this.#undone.push(stroke);
    return this.#paste(stroke.old, stroke.rect);
  }

  redo() {
    const stroke = this.#undone.pop();
    if (!stroke) return null;
    this.#done.push(stroke);
    return this.#paste(stroke.new, stroke.rect);
  }

  // Another whole label, as a stroke.
  replace(sets) {
    this.begin(0, false);
    this.sets.set(sets);
    this.#rect = { left: 0, top: 0, right: this.columns, bottom: this.rows };
    this.end();
  }

  #note(rect) {
    this.#rect = joined(this.#rect, rect);
    return rect;
  }

  #copy(from, { left, top, right, bottom }) {
    for (let row = top; row < bottom; row++) {
      const start = row * this.columns;
      this.sets.set(from.subarray(start + left, start + right), start + left);
    }
  }

  #cut(from, { left, top, right, bottom }) {
    const width = right - left;
    const part = new Uint8Array(width * (bottom - top));
    for (let row = top; row < bottom; row++) {
      const start = row * this.columns + left;
      part.set(from.subarray(start, start + width), (row - top) * width);
    }
    return part;
  }

  #paste(part, rect) {
    const width = rect.right - rect.left;
    for (let row = rect.top; row < rect.bottom; row++) {
      const start = (row - rect.top) * width;
      this.sets.set(part.subarray(start, start + width), row * this.columns + rect.left);
    }
    return rect;
  }
}
