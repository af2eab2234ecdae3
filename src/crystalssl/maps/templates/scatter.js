// Points on a plane: drawn into an image, so that many thousand stay fluid without a graphics card;
// rings and lines of what is chosen lie on a second canvas above it.
class Scatter {
  constructor(box, {onHover, onChoose}) {
    this.box = box;
    this.canvas = box.querySelector("canvas.points");
    this.above = box.querySelector("canvas.rings");
    this.onHover = onHover; this.onChoose = onChoose;
    this.pointers = new Map();
    this.hovered = -1; this.chosen = -1; this.near = [];
    this.shown = null; // of each point: 1 where it is not faded, or null for all
    new ResizeObserver(() => this.resize()).observe(box);
    this.listen();
  }

  setPoints(x, y) {
    this.x = x; this.y = y;
    // a fixed shuffle: no class hides another because it comes later
    if (!this.order || this.order.length !== x.length) {
      this.order = Uint32Array.from(x, (_, i) => i);
      for (let i = x.length - 1, seed = 1; i > 0; i--) {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        const j = seed % (i + 1), kept = this.order[i];
        this.order[i] = this.order[j]; this.order[j] = kept;
      }
    }
    this.buildGrid();
    this.fit();
  }

  setColours(colours, missing) { this.colours = colours; this.missing = missing; this.draw(); }

  buildGrid() { // points by cell of a coarse grid, for what is under the pointer
    const n = this.x.length, side = this.side = Math.max(1, Math.min(256, Math.ceil(Math.sqrt(n / 3))));
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let i = 0; i < n; i++) {
      left = Math.min(left, this.x[i]); right = Math.max(right, this.x[i]);
      low = Math.min(low, this.y[i]); high = Math.max(high, this.y[i]);
    }
    this.bounds = {left, low, width: right - left || 1, height: high - low || 1};
    const cell = i => this.cellOf(this.x[i], this.y[i]);
    this.starts = new Uint32Array(side * side + 1);
    for (let i = 0; i < n; i++) this.starts[cell(i) + 1]++;
    for (let c = 0; c < side * side; c++) this.starts[c + 1] += this.starts[c];
    const next = this.starts.slice();
    this.members = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.members[next[cell(i)]++] = i;
  }

  column(x) { return Math.max(0, Math.min(this.side - 1, Math.floor((x - this.bounds.left) / this.bounds.width * this.side))); }
  line(y) { return Math.max(0, Math.min(this.side - 1, Math.floor((y - this.bounds.low) / this.bounds.height * this.side))); }
  cellOf(x, y) { return this.line(y) * this.side + this.column(x); }

  fit() { // all points in view, both axes to the same scale
    this.zoom = 1;
    this.centre = [this.bounds.left + this.bounds.width / 2, this.bounds.low + this.bounds.height / 2];
    this.resize();
  }

  resize() {
    const {width, height} = this.box.getBoundingClientRect();
    if (!width || !height || !this.x) return;
    this.ratio = Math.min(2, devicePixelRatio || 1);
    for (const canvas of [this.canvas, this.above]) {
      canvas.width = Math.round(width * this.ratio); canvas.height = Math.round(height * this.ratio);
    }
    this.base = Math.min((width - 48) / this.bounds.width, (height - 48) / this.bounds.height);
    this.draw();
  }

  get scale() { return this.base * this.zoom; }
  toScreen(i) {
    const {width, height} = this.canvas;
    return [
      width / 2 + (this.x[i] - this.centre[0]) * this.scale * this.ratio,
      height / 2 - (this.y[i] - this.centre[1]) * this.scale * this.ratio,
    ];
  }

  get radius() { // css pixels
    const n = this.x.length, base = n < 500 ? 5 : n < 3000 ? 4 : n < 12000 ? 2.8 : 2;
    return Math.min(8, base * this.zoom ** 0.3);
  }

  draw() {
    if (this.waiting || !this.colours || !this.base) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.paint(); this.paintAbove(); });
  }

  paint() {
    const started = performance.now();
    const {width, height} = this.canvas, context = this.canvas.getContext("2d");
    if (!this.image || this.image.width !== width || this.image.height !== height) {
      this.image = context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
    }
    this.pixels.fill(0);
    const {x, y, order, colours, missing, shown, pixels} = this;
    const full = disc(this.radius * this.ratio), small = disc(this.radius * this.ratio * 0.7);
    const scale = this.scale * this.ratio, left = width / 2 - this.centre[0] * scale, top = height / 2 + this.centre[1] * scale;
    for (let pass = 0; pass < 2; pass++) { // what is faded or has no value lies below
      for (let k = 0; k < order.length; k++) {
        const i = order[k], dim = shown !== null && !shown[i], none = missing[i] === 1;
        if ((dim || none ? 0 : 1) !== pass) continue;
        const px = Math.round(left + x[i] * scale), py = Math.round(top - y[i] * scale);
        if (px < -20 || py < -20 || px > width + 20 || py > height + 20) continue;
        stamp(pixels, width, height, px, py, none || dim ? small : full, dim ? theme.faded : colours[i]);
      }
    }
    context.putImageData(this.image, 0, 0);
    this.frame = performance.now() - started;
  }

  paintAbove() {
    const context = this.above.getContext("2d"), r = (this.radius + 4) * this.ratio;
    context.clearRect(0, 0, this.above.width, this.above.height);
    const ring = (i, size, line, colour) => {
      const [x, y] = this.toScreen(i);
      for (const [wide, paint] of [[line + 2, theme.page], [line, colour]]) {
        context.lineWidth = wide * this.ratio; context.strokeStyle = paint;
        context.beginPath(); context.arc(x, y, size, 0, 7); context.stroke();
      }
    };
    if (this.chosen >= 0) {
      const [x, y] = this.toScreen(this.chosen);
      context.lineWidth = this.ratio; context.strokeStyle = theme.ink; context.globalAlpha = 0.55;
      for (const i of this.near) {
        context.beginPath(); context.moveTo(x, y); context.lineTo(...this.toScreen(i)); context.stroke();
      }
      context.globalAlpha = 1;
      for (const i of this.near) ring(i, r * 0.8, 1.2, theme.ink);
      ring(this.chosen, r * 1.25, 2.6, theme.accent);
    }
    if (this.hovered >= 0) ring(this.hovered, r, 1.8, theme.ink);
  }

  at(px, py) { // point under a place of the box, within reach of a finger or a pointer
    const reach = (this.radius + 7) / this.scale;
    const {width, height} = this.box.getBoundingClientRect();
    const x = this.centre[0] + (px - width / 2) / this.scale, y = this.centre[1] - (py - height / 2) / this.scale;
    let best = -1, least = reach * reach;
    for (let l = this.line(y - reach); l <= this.line(y + reach); l++) {
      for (let c = this.column(x - reach); c <= this.column(x + reach); c++) {
        const cell = l * this.side + c;
        for (let m = this.starts[cell]; m < this.starts[cell + 1]; m++) {
          const i = this.members[m], d = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
          if (d < least && (!this.shown || this.shown[i])) { best = i; least = d; }
        }
      }
    }
    return best;
  }

  towards(dx, dy) { // nearest point in a direction, for the arrow keys
    const from = this.chosen >= 0 ? this.chosen : -1;
    if (from < 0) return this.order[0];
    let best = -1, least = Infinity;
    for (let i = 0; i < this.x.length; i++) {
      const along = (this.x[i] - this.x[from]) * dx + (this.y[i] - this.y[from]) * dy;
      const across = Math.abs((this.x[i] - this.x[from]) * dy - (this.y[i] - this.y[from]) * dx);
      if (along > 0 && across <= along && along + 2 * across < least && (!this.shown || this.shown[i])) {
        best = i; least = along + 2 * across;
      }
    }
    return best;
  }

  zoomBy(factor, px, py) {
    const {width, height} = this.box.getBoundingClientRect(), before = this.scale;
    this.zoom = Math.max(0.5, Math.min(400, this.zoom * factor));
    const shift = 1 / before - 1 / this.scale;
    if (px !== undefined) { this.centre[0] += (px - width / 2) * shift; this.centre[1] -= (py - height / 2) * shift; }
    this.draw();
  }

  reveal(i) { // bring a point into view
    const [x, y] = this.toScreen(i), {width, height} = this.canvas;
    if (x < 20 || y < 20 || x > width - 20 || y > height - 20) { this.centre = [this.x[i], this.y[i]]; this.draw(); }
  }

  listen() {
    const place = event => {
      const box = this.box.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const box = this.box;
    box.addEventListener("wheel", event => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * 0.0015), ...place(event));
    }, {passive: false});
    box.addEventListener("pointerdown", event => {
      box.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, place(event)); this.moved = 0;
    });
    box.addEventListener("pointermove", event => {
      const now = place(event), before = this.pointers.get(event.pointerId);
      if (!before) return this.hover(this.at(...now), ...now);
      if (this.pointers.size === 2) {
        const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
        const distance = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
        this.zoomBy(distance(now) / (distance(before) || 1), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else {
        this.centre[0] -= (now[0] - before[0]) / this.scale; this.centre[1] += (now[1] - before[1]) / this.scale;
        this.draw();
      }
      this.moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
      this.pointers.set(event.pointerId, now);
    });
    const up = event => {
      if (this.pointers.delete(event.pointerId) && this.moved < 5 && event.type === "pointerup") {
        const i = this.at(...place(event));
        if (i >= 0) this.onChoose(i);
      }
    };
    box.addEventListener("pointerup", up);
    box.addEventListener("pointercancel", up);
    box.addEventListener("pointerleave", () => this.hover(-1));
    box.addEventListener("keydown", event => {
      const arrow = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]}[event.key];
      if (arrow) { const i = this.towards(...arrow); if (i >= 0) this.onChoose(i); }
      else if (event.key === "+" || event.key === "=") this.zoomBy(1.4);
      else if (event.key === "-") this.zoomBy(1 / 1.4);
      else if (event.key === "0") this.fit();
      else return;
      event.preventDefault();
    });
  }

  hover(i, x, y) {
    if (i !== this.hovered) { this.hovered = i; this.paintAbove(); }
    this.onHover(i, x, y);
  }
}

const discs = new Map();
function disc(radius) { // offsets of a disc's pixels and how far each is covered, 0 to 255
  const key = Math.round(radius * 4);
  if (!discs.has(key)) {
    const reach = Math.ceil(radius + 1), cells = [];
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) {
        const cover = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(x, y)));
        if (cover > 0.05) cells.push(x, y, Math.round(cover * 255));
      }
    }
    discs.set(key, Int16Array.from(cells));
  }
  return discs.get(key);
}

function stamp(pixels, width, height, px, py, cells, colour) {
  for (let k = 0; k < cells.length; k += 3) {
    const x = px + cells[k], y = py + cells[k + 1], cover = cells[k + 2];
    if (x < 0 || y < 0 || x >= width || y >= height) continue;
    const at = y * width + x, below = pixels[at];
    if (cover === 255) pixels[at] = colour;
    else if (below === 0) pixels[at] = (colour & 0xffffff) | (cover << 24);
    else { // the edge of a disc above another: red and blue at once, in 256 steps, then green
      const rest = 256 - cover;
      const sides = (((colour & 0xff00ff) * cover + (below & 0xff00ff) * rest) >>> 8) & 0xff00ff;
      const green = (((colour & 0xff00) * cover + (below & 0xff00) * rest) >>> 8) & 0xff00;
      pixels[at] = sides | green | (Math.max(below >>> 24, cover) << 24);
    }
  }
}
