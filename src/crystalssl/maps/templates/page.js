// What the page does: columns become colours and a legend, a chosen point becomes a crystal.
const get = id => document.getElementById(id);
let theme, columns, ids, formulas, scatter, view, near, distances;
let current = null, only = -1, query = "";

function readTheme() {
  const style = getComputedStyle(document.documentElement), value = name => style.getPropertyValue(`--${name}`).trim();
  const heat = value("heat").split(",").map(rgb);
  theme = {
    page: value("page"), ink: value("ink"), muted: value("muted"), quiet: value("quiet"), accent: value("accent"),
    atomEdge: value("atom-edge"), bondEdge: value("bond-edge"),
    faded: packed(rgb(value("faded"))), missing: packed(rgb(value("missing"))), missingText: value("missing"),
    classes: Array.from({length: 9}, (_, i) => value(`class-${i}`)),
    heat: Array.from({length: 256}, (_, i) => packed(mixed(heat, i / 255))), heatText: value("heat"),
  };
}
const rgb = hex => [1, 3, 5].map(at => parseInt(hex.trim().slice(at, at + 2), 16));
const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
function mixed(stops, t) {
  const at = Math.min(stops.length - 2, Math.floor(t * (stops.length - 1))), rest = t * (stops.length - 1) - at;
  return stops[at].map((x, k) => Math.round(x + (stops[at + 1][k] - x) * rest));
}

const nameOf = column => column.unit ? `${column.title} (${column.unit})` : column.title;
function number(x) {
  if (!Number.isFinite(x)) return "no value";
  const size = Math.abs(x), text = size !== 0 && (size < 1e-3 || size >= 1e6) ? x.toExponential(2)
    : size >= 1000 ? Math.round(x).toLocaleString("en") : String(+x.toPrecision(4));
  return text.replaceAll("-", "\u2212");
}
function valueText(column, row) {
  const value = column.values[row];
  if (column.kind === "category") return value < 0 ? "no value" : column.labels[value];
  return number(value) + (column.unit && Number.isFinite(value) ? ` ${column.unit}` : "");
}
function subscripts(formula) { // LiFePO4 with its numbers below the line
  const box = document.createDocumentFragment();
  for (const part of formula.match(/[A-Za-z]+|[\d.]+|[^A-Za-z\d.]+/g) || []) {
    if (/^[\d.]+$/.test(part)) { const sub = document.createElement("sub"); sub.textContent = part; box.append(sub); } else box.append(part);
  }
  return box;
}
function make(tag, options = {}, ...children) {
  const element = Object.assign(document.createElement(tag), options);
  element.append(...children);
  return element;
}

function recolour() {
  const column = current, n = meta.count, colours = new Uint32Array(n), none = new Uint8Array(n);
  if (!column) colours.fill(packed(rgb(theme.classes[0])));
  else if (column.kind === "category") {
    const paints = theme.classes.map(hex => packed(rgb(hex)));
    for (let i = 0; i < n; i++) { const v = column.values[i]; none[i] = v < 0; colours[i] = v < 0 ? theme.missing : paints[Math.min(v, 8)]; }
  } else {
    const scaled = column.log ? x => Math.log10(x) : x => x, low = scaled(column.low), span = scaled(column.high) - low || 1;
    for (let i = 0; i < n; i++) {
      const v = column.values[i];
      none[i] = !Number.isFinite(v) || (column.log && v <= 0);
      colours[i] = none[i] ? theme.missing : theme.heat[Math.max(0, Math.min(255, Math.round((scaled(v) - low) / span * 255)))];
    }
  }
  scatter.setColours(colours, none);
}

function filter() { // which points stand out: those of a class, and those that were searched for
  const wanted = query.toLowerCase().split(/[\s,]+/).filter(Boolean);
  const elements = wanted.length && query.split(/[\s,-]+/).filter(Boolean).every(word => meta.symbols.includes(word)) ? query.split(/[\s,-]+/).filter(Boolean) : null;
  const hits = [], shown = new Uint8Array(meta.count);
  for (let i = 0; i < meta.count; i++) {
    const inClass = only < 0 || (only === 99 ? current.values[i] < 0 : Math.min(current.values[i], 8) === only);
    const found = !wanted.length || ids[i].toLowerCase().includes(query.toLowerCase().trim()) || formulas[i].toLowerCase() === query.toLowerCase().trim()
      || (elements ? elements.every(symbol => new RegExp(`${symbol}(?![a-z])`).test(formulas[i])) : wanted.every(word => formulas[i].toLowerCase().includes(word)));
    if (inClass && found) { shown[i] = 1; hits.push(i); }
  }
  scatter.shown = only < 0 && !wanted.length ? null : shown;
  scatter.draw();
  const box = get("matches");
  box.replaceChildren();
  if (scatter.shown) box.append(`${hits.length.toLocaleString("en")} of ${meta.count.toLocaleString("en")} crystals`);
  if (wanted.length) for (const i of hits.slice(0, 6)) {
    const button = make("button", {type: "button", title: ids[i]}, subscripts(formulas[i] || ids[i]));
    button.onclick = () => choose(i);
    box.append(button);
  }
  return hits;
}

function legend() {
  const box = get("legend"), column = current, n = meta.count;
  box.replaceChildren();
  if (!column) return;
  const missing = column.values.reduce((sum, v) => sum + (column.kind === "category" ? v < 0 : !Number.isFinite(v) || (column.log && v <= 0)), 0);
  if (column.kind === "number") {
    const bar = make("div", {className: "bar"}), strip = make("div", {className: "strip"}), ends = make("div", {className: "ends"});
    strip.style.background = `linear-gradient(90deg, ${theme.heatText})`;
    const middle = column.log ? Math.sqrt(column.low * column.high) : (column.low + column.high) / 2;
    ends.append(make("span", {}, (column.below ? "≤ " : "") + number(column.low)), make("span", {}, number(middle)), make("span", {}, (column.above ? "≥ " : "") + number(column.high)));
    bar.append(strip, ends);
    box.append(bar, make("small", {}, nameOf(column) + (column.log ? ", logarithmic scale" : "")));
  }
  const entries = column.kind === "category" ? column.labels.slice(0, 8).map((label, i) => [label, i]) : [];
  if (column.kind === "category" && column.labels.length > 8) entries.push([`${column.labels.length - 8} others`, 8]);
  if (missing) entries.push(["no value", 99]);
  for (const [label, code] of entries) {
    const count = code === 99 ? missing : column.values.reduce((sum, v) => sum + (v >= 0 && Math.min(v, 8) === code), 0);
    const dot = make("span", {className: "dot"});
    dot.style.background = code === 99 ? theme.missingText : theme.classes[code];
    const button = make("button", {type: "button"}, dot, label, make("small", {}, count.toLocaleString("en")));
    button.setAttribute("aria-pressed", only === code);
    button.onclick = () => { only = only === code ? -1 : code; legend(); filter(); };
    box.append(button);
  }
}

function tip(row, x, y) {
  const box = get("tip");
  box.hidden = row < 0;
  if (row < 0) return;
  const lines = [ids[row], ...meta.hover.map(i => `${columns[i].title}: ${valueText(columns[i], row)}`)];
  if (current && !meta.hover.includes(columns.indexOf(current))) lines.push(`${current.title}: ${valueText(current, row)}`);
  box.replaceChildren(make("b", {}, subscripts(formulas[row] || ids[row])), ...lines.flatMap((text, i) => i ? [make("br"), text] : [text]));
  const area = get("scatter").getBoundingClientRect(), size = box.getBoundingClientRect();
  box.style.left = `${Math.max(4, Math.min(x + 14, area.width - size.width - 4))}px`;
  box.style.top = `${y + 16 + size.height > area.height ? Math.max(4, y - size.height - 12) : y + 16}px`;
}

function choose(row, fromAddress = false) {
  if (!fromAddress) {
    try { history.pushState(null, "", `#${encodeURIComponent(ids[row])}`); } catch { /* a notebook's frame has no address */ }
  }
  scatter.chosen = row;
  scatter.near = near ? Array.from(near.subarray(row * meta.near, (row + 1) * meta.near)) : [];
  scatter.reveal(row); scatter.paintAbove();
  get("hint").hidden = true; get("crystal").hidden = false;
  get("formula").replaceChildren(subscripts(formulas[row] || ids[row]));
  get("id").textContent = ids[row];
  get("below").hidden = false;
  get("below").replaceChildren(subscripts(formulas[row] || ids[row]), ` (${ids[row]}): crystal and neighbours below`);
  get("said").textContent = `${formulas[row]}, ${ids[row]}`;
  const isKnown = column => column.kind === "category" ? column.values[row] >= 0 : Number.isFinite(column.values[row]);
  const known = columns.filter(isKnown), unknown = columns.filter(column => !isKnown(column));
  get("values").replaceChildren(...known.map(column => make("div", {}, make("dt", {}, column.title), make("dd", {}, valueText(column, row)))));
  get("unknown").textContent = unknown.length ? `No value: ${unknown.map(column => column.title).join(", ")}.` : "";
  get("near-title").hidden = !near;
  get("near").replaceChildren(...scatter.near.map((other, k) => {
    const value = current ? valueText(current, other) : "";
    const button = make("button", {type: "button"}, make("span", {}, subscripts(formulas[other] || ids[other])), make("span", {className: "right"}, value),
      make("small", {}, ids[other]), make("small", {className: "right", title: meta.metric}, `distance ${number(distances[row * meta.near + k])}`));
    button.onclick = () => choose(other);
    return make("li", {}, button);
  }));
  showStructure(row);
}

async function showStructure(row) {
  const structure = await structureOf(row);
  if (scatter.chosen !== row) return; // another was chosen meanwhile
  get("solid").hidden = !structure; get("absent").hidden = !!structure;
  get("absent").textContent = meta.stored ? `The map holds ${meta.stored.toLocaleString("en")} structures of ${meta.count.toLocaleString("en")}, evenly spread; this is not one of them.` : "The map was made without structures.";
  if (!structure) return;
  const counts = new Map();
  for (const kind of structure.kinds) counts.set(kind, (counts.get(kind) || 0) + 1);
  const mixture = kind => mixtureOf(kind).map(([z, share]) => meta.elements[z].symbol + (share > 0.999 ? "" : ` ${number(share)}`)).join(" + ");
  const hole = kind => 1 - mixtureOf(kind).reduce((sum, [, share]) => sum + share, 0);
  get("species").replaceChildren(...[...counts].map(([kind, count]) => {
    const icon = make("canvas", {width: 40, height: 40});
    icon.style.cssText = "width:1.25em;height:1.25em";
    atomAt(icon.getContext("2d"), [20, 20], 18, kind);
    return make("li", {}, icon, `${mixture(kind)}${hole(kind) > 0.001 ? ` + vacancy ${number(hole(kind))}` : ""}`, make("small", {}, ` ×${count}`));
  }));
  const partly = structure.kinds.filter(kind => mixtureOf(kind).length > 1 || hole(kind) > 0.001).length;
  get("disorder").textContent = partly ? `Disordered: ${partly} of ${structure.kinds.length} sites are shared or partly empty. Slices show occupancies, an open slice is vacancy; bonds are drawn as if every site were filled.` : "";
  get("view").setAttribute("aria-label", `Cell of ${formulas[row]}, ${structure.kinds.length} sites. Arrow keys turn it, plus and minus zoom.`);
  view.zoom = 1; view.turn = START;
  view.show(structure);
}

function goToAddress() {
  const row = ids.indexOf(decodeURIComponent(location.hash.slice(1)));
  if (row >= 0) choose(row, true);
}

async function start() {
  if (!("DecompressionStream" in window)) throw new Error("This browser is too old for the map: it needs Chromium 80, Firefox 113, Safari 16.4 or later.");
  readTheme();
  [ids, formulas] = await Promise.all([textBlock("ids"), textBlock("formulas")]);
  columns = await Promise.all(meta.columns.map(async (column, i) => ({...column, values: new (column.kind === "category" ? Int32Array : Float32Array)(await block(`column-${i}`))})));
  if (meta.near) [near, distances] = [new Uint32Array(await block("near")), new Float32Array(await block("distances"))];
  if (meta.stored) meta.slots = new Map(meta.stored === meta.count ? ids.map((_, i) => [i, i]) : Array.from(new Uint32Array(await block("stored")), (row, slot) => [row, slot]));
  const planes = await Promise.all(meta.planes.map(async (plane, i) => { const xy = new Float32Array(await block(`plane-${i}`)); return {...plane, x: xy.subarray(0, meta.count), y: xy.subarray(meta.count)}; }));
  scatter = new Scatter(get("scatter"), {onHover: tip, onChoose: choose});
  view = new CrystalView(get("view"));
  const list = (id, entries) => { get(id).replaceChildren(...entries.map((text, i) => new Option(text, i))); get(`${id}-label`).hidden = entries.length < 2 && id === "plane"; };
  list("plane", planes.map(plane => plane.title));
  list("colour", columns.map(nameOf));
  get("colour-label").hidden = !columns.length;
  const setPlane = () => { const plane = planes[get("plane").value || 0]; scatter.setPoints(plane.x, plane.y); get("axes").textContent = plane.note; };
  const setColour = () => { current = columns[get("colour").value || 0] || null; only = -1; recolour(); legend(); filter(); if (scatter.chosen >= 0) choose(scatter.chosen, true); };
  get("below").onclick = () => get("crystal").scrollIntoView({behavior: "smooth"});
  get("plane").onchange = setPlane; get("colour").onchange = setColour;
  get("fit").onclick = () => scatter.fit(); get("closer").onclick = () => scatter.zoomBy(1.5); get("farther").onclick = () => scatter.zoomBy(1 / 1.5);
  let typing; get("find").oninput = event => { query = event.target.value; clearTimeout(typing); typing = setTimeout(filter, 120); };
  get("find").onkeydown = event => { if (event.key === "Enter") { const hits = filter(); if (hits.length) choose(hits[0]); } };
  for (const button of get("looks").querySelectorAll("[data-axis]")) button.onclick = () => view.along(+button.dataset.axis);
  get("repeat").onclick = event => { const on = view.repeat === 1; view.setRepeat(on ? 2 : 1); event.target.setAttribute("aria-pressed", on); };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readTheme(); setColour(); view.draw(); });
  addEventListener("popstate", goToAddress); addEventListener("hashchange", goToAddress);
  setPlane(); setColour(); goToAddress();
  document.documentElement.dataset.ready = "true";
}
const meta = JSON.parse(get("meta").textContent);
start().catch(error => { get("trouble").textContent = error.message; get("trouble").hidden = false; throw error; });
