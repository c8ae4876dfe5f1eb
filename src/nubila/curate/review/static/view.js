// One canvas with one pane or several over the same ground, which move and zoom together.

const GAP = 2;
const MOST_SCALE = 64;

export class View {
  constructor(canvas, draw) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.size = { rows: 1, columns: 1 };
    this.panes = 1;
    this.scale = 1;
    this.x = 0; // image coordinates of the middle of each pane
    this.y = 0;
    this.touched = false; // whether the view was moved by hand since it was fitted
    this.draw = draw;
    this.waiting = false;
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    if (!this.touched) this.fit();
    this.request();
  }

  show(size) {
    const same = size.rows === this.size.rows && size.columns === this.size.columns;
    this.size = size;
    if (!same || !this.touched) this.fit();
  }

  setPanes(count) {
    this.panes = count;
    if (!this.touched) this.fit();
    this.request();
  }

  fit() {
    const pane = this.pane(0);
    this.x = this.size.columns / 2;
    this.y = this.size.rows / 2;
    this.scale = Math.min(pane.width / this.size.columns, pane.height / this.size.rows) * 0.98;
    this.touched = false;
    this.request();
  }

  // A pane's place in the canvas, in device pixels.
  pane(number) {
    const across = this.panes === 1 ? 1 : 2;
    const down = this.panes === 1 ? 1 : 2;
    const width = (this.canvas.width - GAP * (across - 1)) / across;
    const height = (this.canvas.height - GAP * (down - 1)) / down;
    const left = (number % across) * (width + GAP);
    const top = Math.floor(number / across) * (height + GAP);
    return { left, top, width, height };
  }

  // Where in the image an event is, whichever pane it hits.
  at(event) {
    const ratio = window.devicePixelRatio || 1;
    const [px, py] = [event.offsetX * ratio, event.offsetY * ratio];
    for (let number = 0; number < this.panes; number++) {
      const pane = this.pane(number);
      const inside =
        px >= pane.left && px < pane.left + pane.width && py >= pane.top && py < pane.top + pane.height;
      if (inside || number === this.panes - 1) {
        return {
          x: (px - pane.left - pane.width / 2) / this.scale + this.x,
          y: (py - pane.top - pane.height / 2) / this.scale + this.y,
        };
      }
    }
    return { x: 0, y: 0 };
  }

  zoom(factor, at = { x: this.x, y: this.y }) {
    const least = 0.2 * Math.min(this.pane(0).width / this.size.columns, 1);
    const scale = Math.min(Math.max(this.scale * factor, least), MOST_SCALE);
    this.x = at.x + ((this.x - at.x) * this.scale) / scale;
    this.y = at.y + ((this.y - at.y) * this.scale) / scale;
    this.scale = scale;
    this.touched = true;
    this.request();
  }

  pan(dx, dy) {
    const ratio = window.devicePixelRatio || 1;
    this.x = Math.min(Math.max(this.x - (dx * ratio) / this.scale, 0), this.size.columns);
    this.y = Math.min(Math.max(this.y - (dy * ratio) / this.scale, 0), this.size.rows);
    this.touched = true;
    this.request();
  }

  request() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.paint();
    });
  }

  // Calls `draw(context, number)` for each pane, in image coordinates.
  paint() {
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#0c0c0c";
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (let number = 0; number < this.panes; number++) {
      const { left, top, width, height } = this.pane(number);
      context.save();
      context.beginPath();
      context.rect(left, top, width, height);
      context.clip();
      context.translate(left + width / 2, top + height / 2);
      context.scale(this.scale, this.scale);
      context.translate(-this.x, -this.y);
      context.imageSmoothingEnabled = this.scale < 1; // enlarged pixels stay pixels
      context.imageSmoothingQuality = "medium";
      this.draw(context, number);
      context.restore();
    }
  }
}
