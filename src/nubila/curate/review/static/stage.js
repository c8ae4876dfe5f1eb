// What is seen of a sample: its picture, and over it label, prediction and their difference.

import { Layer } from "./layers.js";
import { differenceColours, setColours } from "./palette.js";
import { View } from "./view.js";

// What lies over the picture in each pane when they stand side by side.
const PANES = [[], ["label"], ["prediction"], ["difference"]];
const TITLES = ["image", "label", "prediction", "difference"];

export class Stage {
  constructor(canvas, classes) {
    this.view = new View(canvas, (context, pane) => this.draw(context, pane));
    this.classes = classes;
    this.hidden = new Set([0]); // clear ground is what is left when the rest is marked
    this.visible = new Set(["label"]);
    this.outline = false;
    this.opacity = 0.5;
    this.peek = false;
    this.sample = null;
    this.sets = null;
    this.bitmap = null;
    this.layers = {};
    this.sketch = null; // {points, cursor, radius} of what is being drawn
    this.drawn = () => {};
    this.pairs = differenceColours();
  }

  show(sample, bitmap, sets) {
    this.sample = sample;
    this.sets = sets;
    this.setPicture(bitmap);
    this.sketch = null;
    const { rows, columns } = sample;
    const same = this.layers.label?.rows === rows && this.layers.label?.columns === columns;
    if (!same) {
      for (const name of ["label", "prediction", "difference"]) {
        this.layers[name] = new Layer(rows, columns);
      }
    }
    this.view.show({ rows, columns });
    this.repaint();
  }

  clear() {
    this.sample = this.sets = this.bitmap = this.sketch = null;
    this.view.request();
  }

  setPicture(bitmap) {
    this.bitmap = bitmap;
    this.rgba = null;
    this.view.request();
  }

  // RGBA bytes of the picture, as the wand compares them.
  get pixels() {
    if (!this.rgba) {
      const { width, height } = this.bitmap;
      const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      context.drawImage(this.bitmap, 0, 0);
      this.rgba = context.getImageData(0, 0, width, height).data;
    }
    return this.rgba;
  }

  // Colours anew: of everything, or of the label in a rectangle.
  repaint(rect) {
    if (!this.sample) return;
    const colours = setColours(this.classes, this.hidden);
    const { prediction } = this.sample;
    this.layers.label.paintSets(this.sets, colours, this.outline, rect);
    if (prediction) {
      if (!rect) this.layers.prediction.paintSets(prediction, colours, this.outline);
      this.layers.difference.paintPairs(this.sets, prediction, this.pairs, rect);
    }
    this.view.request();
  }

  setPanes(four) {
    this.view.setPanes(four ? 4 : 1);
  }

  draw(context, pane) {
    if (!this.sample || !this.bitmap) return;
    context.drawImage(this.bitmap, 0, 0);
    const four = this.view.panes > 1;
    const names = four ? PANES[pane] : ["prediction", "label", "difference"].filter((n) => this.visible.has(n));
    for (const name of this.peek ? [] : names) {
      if (name !== "label" && !this.sample.prediction) continue;
      context.globalAlpha = this.outline && name !== "difference" ? 1 : this.opacity;
      context.drawImage(this.layers[name].canvas, 0, 0);
    }
    context.globalAlpha = 1;
    if (this.sketch) this.drawSketch(context);
    if (four) this.drawTitle(context, pane);
    if (pane === this.view.panes - 1) this.drawn();
  }

  drawSketch(context) {
    const { points, cursor, radius } = this.sketch;
    const path = new Path2D();
    if (points?.length) {
      path.moveTo(points[0].x, points[0].y);
      for (const point of [...points.slice(1), ...(cursor ? [cursor] : [])]) path.lineTo(point.x, point.y);
    } else if (cursor && radius !== undefined) {
      path.arc(cursor.x, cursor.y, Math.max(radius, 0.5), 0, 2 * Math.PI);
    }
    for (const [colour, width] of [["#000", 3], ["#fff", 1.3]]) {
      context.strokeStyle = colour;
      context.lineWidth = (width * (window.devicePixelRatio || 1)) / this.view.scale;
      context.stroke(path);
    }
  }

  drawTitle(context, pane) {
    const { left, top } = this.view.pane(pane);
    context.setTransform(1, 0, 0, 1, 0, 0);
    const size = 12 * (window.devicePixelRatio || 1);
    context.font = `${size}px system-ui, sans-serif`;
    const missing = pane > 1 && !this.sample.prediction;
    const title = missing ? "no prediction" : TITLES[pane];
    context.fillStyle = "rgba(18,18,18,.8)";
    context.fillRect(left, top, context.measureText(title).width + size, size * 1.7);
    context.fillStyle = "#e8e8e8";
    context.fillText(title, left + size / 2, top + size * 1.2);
  }
}
