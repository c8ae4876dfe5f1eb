// Layers of one colour a pixel, painted into canvases of the image's size; only what changed anew.

export class Layer {
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.canvas = new OffscreenCanvas(columns, rows);
    this.context = this.canvas.getContext("2d");
    this.pixels = this.context.createImageData(columns, rows);
    this.colours = new Uint32Array(this.pixels.data.buffer);
  }

  get whole() {
    return { left: 0, top: 0, right: this.columns, bottom: this.rows };
  }

  // Colour of each pixel by `colour(index)`, in a rectangle.
  paint(colour, rect = this.whole) {
    for (let row = rect.top; row < rect.bottom; row++) {
      for (let i = row * this.columns + rect.left; i < row * this.columns + rect.right; i++) {
        this.colours[i] = colour(i);
      }
    }
    const { left, top, right, bottom } = rect;
    this.context.putImageData(this.pixels, 0, 0, left, top, right - left, bottom - top);
  }

  // Sets in their colours, whole or only where a neighbour is another set.
  paintSets(sets, table, outline, rect = this.whole) {
    if (!outline) {
      this.paint((i) => table[sets[i]], rect);
      return;
    }
    const { rows, columns } = this;
    const grown = {
      left: Math.max(rect.left - 1, 0),
      top: Math.max(rect.top - 1, 0),
      right: Math.min(rect.right + 1, columns),
      bottom: Math.min(rect.bottom + 1, rows),
    };
    this.paint((i) => {
      const set = sets[i];
      const column = i % columns;
      const edge =
        (column > 0 && sets[i - 1] !== set) ||
        (column < columns - 1 && sets[i + 1] !== set) ||
        (i >= columns && sets[i - columns] !== set) ||
        (i < (rows - 1) * columns && sets[i + columns] !== set);
      return edge ? table[set] : 0;
    }, grown);
  }

  paintPairs(label, prediction, table, rect = this.whole) {
    this.paint((i) => table[label[i] * 64 + prediction[i]], rect);
  }
}
