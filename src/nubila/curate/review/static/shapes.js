// Pixels of shapes, without any canvas. Each calls `put(index)` for every pixel that it holds, and
// returns the rectangle that they lie in, or null for none.

class Bounds {
  constructor() {
    Object.assign(this, { left: Infinity, top: Infinity, right: -1, bottom: -1 });
  }

  add(left, right, row) {
    this.left = Math.min(this.left, left);
    this.right = Math.max(this.right, right);
    this.top = Math.min(this.top, row);
    this.bottom = Math.max(this.bottom, row + 1);
  }

  get rect() {
    const { left, top, right, bottom } = this;
    return right < 0 ? null : { left, top, right, bottom };
  }
}

// A thick line from one point to another: pixels whose centre is no farther than the radius, in
// pixels, from it. With radius 0, the pixels that hold the points between.
export function strokeLine(from, to, radius, rows, columns, put) {
  const bounds = new Bounds();
  const reach = Math.max(radius, 0.5);
  const top = Math.max(Math.floor(Math.min(from.y, to.y) - reach), 0);
  const bottom = Math.min(Math.ceil(Math.max(from.y, to.y) + reach), rows);
  const first = Math.max(Math.floor(Math.min(from.x, to.x) - reach), 0);
  const last = Math.min(Math.ceil(Math.max(from.x, to.x) + reach), columns);
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  for (let row = top; row < bottom; row++) {
    for (let column = first; column < last; column++) {
      const [px, py] = [column + 0.5 - from.x, row + 0.5 - from.y];
      const along = length ? Math.min(Math.max((px * dx + py * dy) / length, 0), 1) : 0;
      const [ex, ey] = [px - along * dx, py - along * dy];
      const inside = radius
        ? ex * ex + ey * ey <= radius * radius
        : Math.abs(ex) <= 0.5 && Math.abs(ey) <= 0.5;
      if (!inside) continue;
      put(row * columns + column);
      bounds.add(column, column + 1, row);
    }
  }
  return bounds.rect;
}

// A polygon by the even-odd rule: pixels whose centre is inside.
export function fillPolygon(points, rows, columns, put) {
  const bounds = new Bounds();
  for (let row = 0; row < rows; row++) {
    const crossings = crossingsAt(points, row + 0.5);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const first = Math.max(Math.ceil(crossings[i] - 0.5), 0);
      const end = Math.min(Math.ceil(crossings[i + 1] - 0.5), columns);
      for (let column = first; column < end; column++) put(row * columns + column);
      if (end > first) bounds.add(first, end, row);
    }
  }
  return bounds.rect;
}

function crossingsAt(points, y) {
  const found = [];
  points.forEach((a, i) => {
    const b = points[(i + 1) % points.length];
    if (a.y <= y === b.y <= y) return;
    found.push(a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x));
  });
  return found.sort((a, b) => a - b);
}

// What looks like the pixel at `seed` in a picture (RGBA bytes): no channel farther than the
// tolerance; joined to it through edges, or anywhere.
export function fillSimilar(picture, seed, tolerance, joined, rows, columns, put) {
  const bounds = new Bounds();
  const [red, green, blue] = picture.subarray(seed * 4, seed * 4 + 3);
  const similar = (i) =>
    Math.abs(picture[i * 4] - red) <= tolerance &&
    Math.abs(picture[i * 4 + 1] - green) <= tolerance &&
    Math.abs(picture[i * 4 + 2] - blue) <= tolerance;
  const take = (i) => {
    put(i);
    bounds.add(i % columns, (i % columns) + 1, Math.floor(i / columns));
  };
  if (!joined) {
    for (let i = 0; i < rows * columns; i++) if (similar(i)) take(i);
    return bounds.rect;
  }
  const seen = new Uint8Array(rows * columns);
  const open = [seed];
  seen[seed] = 1;
  while (open.length) {
    const i = open.pop();
    take(i);
    const column = i % columns;
    const around = [i - columns, i + columns];
    if (column > 0) around.push(i - 1);
    if (column < columns - 1) around.push(i + 1);
    for (const next of around) {
      if (next < 0 || next >= rows * columns || seen[next] || !similar(next)) continue;
      seen[next] = 1;
      open.push(next);
    }
  }
  return bounds.rect;
}
