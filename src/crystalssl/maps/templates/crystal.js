// One crystal in 3D: atoms as shaded discs from back to front, a disordered site as a pie of its
// occupancies with the vacancy left open, bonds by covalent radii, the cell as lines.
const MOST_BONDED = 1200; // atoms beyond which bonds are not looked for
const MOST_DRAWN = 6000;

class CrystalView {
  constructor(canvas) {
    this.canvas = canvas; this.turn = START; this.zoom = 1; this.repeat = 1;
    new ResizeObserver(() => this.draw()).observe(canvas);
    const pointers = new Map();
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId); pointers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    canvas.addEventListener("pointermove", event => {
      const before = pointers.get(event.pointerId), now = [event.clientX, event.clientY];
      if (!before) return;
      if (pointers.size === 2) {
        const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const distance = p => Math.hypot(p[0] - other[0], p[1] - other[1]);
        this.zoomBy(distance(now) / (distance(before) || 1));
      } else this.rotate((now[0] - before[0]) * 0.01, (now[1] - before[1]) * 0.01);
      pointers.set(event.pointerId, now);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, e => pointers.delete(e.pointerId));
    canvas.addEventListener("wheel", event => { event.preventDefault(); this.zoomBy(Math.exp(-event.deltaY * 0.001)); }, {passive: false});
    canvas.addEventListener("keydown", event => {
      const arrow = {ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15]}[event.key];
      if (arrow) this.rotate(...arrow);
      else if (event.key === "+" || event.key === "=") this.zoomBy(1.2);
      else if (event.key === "-") this.zoomBy(1 / 1.2);
      else return;
      event.preventDefault();
    });
  }

  show(structure) { this.structure = structure; this.build(); this.draw(); }
  setRepeat(repeat) { this.repeat = repeat; if (this.structure) { this.build(); this.draw(); } }
  zoomBy(factor) { this.zoom = Math.max(0.3, Math.min(12, this.zoom * factor)); this.draw(); }
  rotate(yaw, pitch) { this.turn = multiply(multiply(aboutX(pitch), aboutY(yaw)), this.turn); this.draw(); }

  along(axis) { // look down a lattice vector
    const toward = unit(this.structure.cell[axis]);
    const side = unit(cross(unit(this.structure.cell[(axis + 2) % 3]), toward));
    this.turn = [side, cross(toward, side), toward];
    this.draw();
  }

  build() {
    const {cell, kinds, coords} = this.structure, atoms = [], many = this.repeat;
    coords.forEach((frac, site) => {
      // an atom on a face, edge or corner is shown on the opposite ones too
      const shifts = frac.map(x => {
        const all = Array.from({length: many}, (_, n) => n);
        return x < 1e-3 ? [...all, many] : x > 1 - 1e-3 ? [-1, ...all] : all;
      });
      for (const i of shifts[0]) for (const j of shifts[1]) for (const k of shifts[2]) {
        if (atoms.length < MOST_DRAWN) atoms.push({site, kind: kinds[site], at: cartesian([frac[0] + i, frac[1] + j, frac[2] + k], cell)});
      }
    });
    const middle = cartesian([many / 2, many / 2, many / 2], cell);
    for (const atom of atoms) atom.at = atom.at.map((x, i) => x - middle[i]);
    const corner = bits => cartesian(bits, cell.map(v => v.map(x => x * many))).map((x, i) => x - middle[i]);
    this.edges = [];
    for (let c = 0; c < 8; c++) for (let axis = 0; axis < 3; axis++) {
      const bits = [c & 1, (c >> 1) & 1, (c >> 2) & 1];
      if (bits[axis] === 0) this.edges.push([corner(bits), corner(bits.map((b, i) => i === axis ? 1 : b))]);
    }
    this.atoms = atoms; this.bonds = atoms.length > MOST_BONDED ? [] : bondsOf(atoms);
    this.extent = Math.max(1, ...atoms.map(a => Math.hypot(...a.at) + radiusOf(a.kind)), ...this.edges.flat().map(p => Math.hypot(...p)));
  }

  draw() {
    const {width, height} = this.canvas.getBoundingClientRect();
    if (!this.structure || !width) return;
    const ratio = Math.min(2, devicePixelRatio || 1), context = this.canvas.getContext("2d");
    this.canvas.width = Math.round(width * ratio); this.canvas.height = Math.round(height * ratio);
    context.scale(ratio, ratio); context.translate(width / 2, height / 2);
    const scale = (Math.min(width, height) / 2 - 8) / this.extent * this.zoom;
    const look = p => { const q = apply(this.turn, p); return [q[0] * scale, -q[1] * scale, q[2]]; };
    const seen = this.atoms.map(a => look(a.at)), items = [];
    this.atoms.forEach((atom, i) => items.push({z: seen[i][2], atom: atom.kind, at: seen[i]}));
    for (const [i, j] of this.bonds) {
      const middle = seen[i].map((x, k) => (x + seen[j][k]) / 2);
      for (const end of [i, j]) items.push({z: (seen[end][2] + middle[2]) / 2 - 0.2, bond: [seen[end], middle], kind: this.atoms[end].kind});
    }
    for (const [a, b] of this.edges) for (let k = 0; k < 8; k++) { // in pieces, to be sorted among atoms
      const piece = t => look(a.map((x, i) => x + (b[i] - x) * t)), from = piece(k / 8), to = piece((k + 1) / 8);
      items.push({z: (from[2] + to[2]) / 2 - 0.05, edge: [from, to]});
    }
    items.sort((a, b) => a.z - b.z);
    for (const item of items) {
      if (item.edge) line(context, ...item.edge, 1, theme.quiet);
      else if (item.bond) { line(context, ...item.bond, 0.2 * scale + 1.5, theme.bondEdge); line(context, ...item.bond, 0.2 * scale, colourOf(item.kind)); }
      else atomAt(context, item.at, radiusOf(item.atom) * scale, item.atom);
    }
    this.drawAxes(context, width, height);
  }

  drawAxes(context, width, height) {
    const [x0, y0] = [-width / 2 + 30, height / 2 - 30];
    context.font = "600 12px system-ui, sans-serif"; context.textAlign = "center"; context.textBaseline = "middle";
    this.structure.cell.forEach((vector, i) => {
      const q = apply(this.turn, unit(vector));
      line(context, [x0, y0], [x0 + 18 * q[0], y0 - 18 * q[1]], 2, theme.muted);
      context.fillStyle = theme.ink; context.fillText("abc"[i], x0 + 26 * q[0], y0 - 26 * q[1]);
    });
  }
}

const mixtureOf = kind => meta.kinds[kind]; // [[Z, occupancy], ...], by decreasing occupancy
const radiusOf = kind => 0.28 + 0.3 * meta.elements[mixtureOf(kind)[0][0]].radius;
const colourOf = kind => meta.elements[mixtureOf(kind)[0][0]].colour;

function bondsOf(atoms) { // closer than the sum of covalent radii and a little; no metal to metal in a salt
  const of = atom => meta.elements[mixtureOf(atom.kind)[0][0]];
  const salt = atoms.some(a => !of(a).metal), bonds = [];
  for (let i = 0; i < atoms.length; i++) for (let j = 0; j < i; j++) {
    if (salt && of(atoms[i]).metal && of(atoms[j]).metal) continue;
    const most = of(atoms[i]).radius + of(atoms[j]).radius + 0.4;
    const [x, y, z] = atoms[i].at.map((v, k) => v - atoms[j].at[k]), square = x * x + y * y + z * z;
    if (square < most * most && square > 0.36) bonds.push([i, j]);
  }
  return bonds;
}

function atomAt(context, [x, y], r, kind) {
  let angle = -Math.PI / 2, filled = 0;
  const mixture = mixtureOf(kind);
  context.lineWidth = 1; context.strokeStyle = theme.atomEdge;
  for (const [z, share] of mixture) {
    filled += share;
    context.fillStyle = meta.elements[z].colour; context.beginPath();
    if (mixture.length === 1 && share > 0.999) context.arc(x, y, r, 0, 7);
    else { context.moveTo(x, y); context.arc(x, y, r, angle, angle += 2 * Math.PI * share); context.closePath(); }
    context.fill(); context.stroke();
  }
  if (filled < 0.999) { // the vacancy
    context.fillStyle = theme.page; context.beginPath(); context.moveTo(x, y);
    context.arc(x, y, r, angle, 1.5 * Math.PI); context.closePath(); context.fill(); context.stroke();
  }
  const shade = context.createRadialGradient(x - r * 0.35, y - r * 0.4, r * 0.1, x, y, r);
  shade.addColorStop(0, "rgba(255,255,255,.55)"); shade.addColorStop(0.45, "rgba(255,255,255,0)"); shade.addColorStop(1, "rgba(0,0,0,.28)");
  context.fillStyle = shade; context.beginPath(); context.arc(x, y, r, 0, 7); context.fill();
}

function line(context, a, b, width, colour) {
  context.lineWidth = width; context.strokeStyle = colour; context.beginPath();
  context.moveTo(a[0], a[1]); context.lineTo(b[0], b[1]); context.stroke();
}

const cartesian = (frac, cell) => [0, 1, 2].map(k => frac[0] * cell[0][k] + frac[1] * cell[1][k] + frac[2] * cell[2][k]);
const apply = (m, p) => m.map(row => row[0] * p[0] + row[1] * p[1] + row[2] * p[2]);
const multiply = (a, b) => a.map(row => [0, 1, 2].map(k => row[0] * b[0][k] + row[1] * b[1][k] + row[2] * b[2][k]));
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = v => { const n = Math.hypot(...v) || 1; return v.map(x => x / n); };
const aboutX = t => [[1, 0, 0], [0, Math.cos(t), -Math.sin(t)], [0, Math.sin(t), Math.cos(t)]];
const aboutY = t => [[Math.cos(t), 0, Math.sin(t)], [0, 1, 0], [-Math.sin(t), 0, Math.cos(t)]];
const START = multiply(aboutX(-1.25), [[Math.cos(0.35), Math.sin(0.35), 0], [-Math.sin(0.35), Math.cos(0.35), 0], [0, 0, 1]]);
