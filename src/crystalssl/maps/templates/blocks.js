// The compressed blocks of the page: text of base64 -> typed arrays. A block is unpacked when it is
// asked for, so that structures cost nothing until a crystal is looked at.
const blockCache = new Map();

async function bytesOf(name) {
  const text = document.getElementById(`block-${name}`).textContent;
  const packed = Uint8Array.from(atob(text.trim()), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function block(name) {
  if (!blockCache.has(name)) blockCache.set(name, bytesOf(name));
  return blockCache.get(name);
}

async function textBlock(name) {
  const text = new TextDecoder().decode(await block(name));
  return text.split("\n");
}

// Structures lie in chunks of `meta.chunk` crystals: cells (9 float32 each), sites of each crystal
// (uint32), kind of each site (uint32, a row of meta.kinds), fractional coordinates (3 uint16 each).
async function structureOf(row) {
  const slot = meta.stored ? meta.slots.get(row) : undefined;
  if (slot === undefined) return null;
  const chunk = Math.floor(slot / meta.chunk), within = slot % meta.chunk;
  const buffer = await block(`structures-${chunk}`);
  const count = Math.min(meta.chunk, meta.stored - chunk * meta.chunk);
  const cells = new Float32Array(buffer, 0, 9 * count);
  const sites = new Uint32Array(buffer, 36 * count, count);
  let first = 0, total = 0;
  sites.forEach((n, i) => { if (i < within) first += n; total += n; });
  const kinds = new Uint32Array(buffer, 40 * count, total);
  const coords = new Uint16Array(buffer, 40 * count + 4 * total, 3 * total);
  const last = first + sites[within];
  return {
    cell: [0, 1, 2].map(i => Array.from(cells.subarray(9 * within + 3 * i, 9 * within + 3 * i + 3))),
    kinds: Array.from(kinds.subarray(first, last)),
    coords: Array.from({length: last - first}, (_, i) =>
      Array.from(coords.subarray(3 * (first + i), 3 * (first + i) + 3), x => x / 65536)),
  };
}
