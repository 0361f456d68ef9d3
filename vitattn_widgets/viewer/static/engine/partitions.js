// @ts-check
// Which keys a query can reach: the windows of a layer, as the capsule's tables say them.

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./resolve.js").ResolvedMap} ResolvedMap */

/**
 * @typedef {Object} Windows   See `Windows` in Python.
 * @property {number} slots                       key slots of a window
 * @property {ArrayLike<number>} keys             (windows, slots), the number of the key: padding, then the key grid
 * @property {ArrayLike<number> | null} regions   (windows, slots), the region of each slot; pairs of two are masked
 * @property {number} querySlots                  query slots of a window
 * @property {Int32Array} places                  (queries,), the place of each query among the slots of all windows
 */

/**
 * The windows of a layer; null if every query reaches every key.
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @returns {Windows | null}
 */
export function windowsOf(capsule, layer) {
  const name = `layer${layer}.windows`;
  if (!capsule.has(`${name}.queries`)) return null;
  return capsule.remembered("windows", name, capsule.numLayers, () => {
    const { data: queries, shape } = capsule.tensor(`${name}.queries`);
    const { data: keys, shape: keyShape } = capsule.tensor(`${name}.keys`);
    const [rows, cols] = capsule.facts.layers[layer].query_grid;
    const places = new Int32Array(rows * cols);
    for (let place = 0; place < queries.length; place++) if (queries[place] >= 0) places[queries[place]] = place;
    const regions = capsule.has(`${name}.regions`) ? capsule.tensor(`${name}.regions`).data : null;
    return { slots: keyShape[1], keys, regions, querySlots: shape[1], places };
  });
}

/**
 * The cells of a layer's key grid that a patch reaches.
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @param {[number, number]} patch row and column in the grid of the queries
 * @returns {Uint8Array | null} (rows * cols,), 1 where it reaches; null if every query reaches every key
 */
export function reach(capsule, layer, [row, col]) {
  const windows = windowsOf(capsule, layer);
  if (!windows) return null;
  const { slots, keys, regions, querySlots, places } = windows;
  const { query_grid: queryGrid, padding } = capsule.facts.layers[layer];
  const place = places[row * queryGrid[1] + col];
  const first = Math.floor(place / querySlots) * slots; // of the keys of its window
  const reached = new Uint8Array(capsule.numPatches(layer));
  for (let at = first; at < first + slots; at++) {
    if (keys[at] >= padding && (!regions || regions[at] === regions[place])) reached[keys[at] - padding] = 1;
  }
  return reached;
}

/**
 * The cells of a map that its query can reach; null if it is no patch, reaches all, or the map goes through layers.
 *
 * @param {Capsule} capsule
 * @param {ResolvedMap} resolved
 * @returns {Uint8Array | null} (rows * cols,)
 */
export function reachOf(capsule, { query, layer, source }) {
  const cells = typeof query === "string" || source.span !== "layer" ? null : reach(capsule, layer, query);
  return cells?.includes(0) ? cells : null;
}

/**
 * The pixels of an input whose middle lies in some cells of a grid.
 *
 * @param {Uint8Array} cells (rows * cols,)
 * @param {[number, number]} grid rows and columns
 * @param {[number, number]} size height and width of the input in pixels
 * @param {[number, number]} covered height and width in pixels of what the grid covers, at least the input
 * @returns {Uint8Array} (height * width,)
 */
export function cellPixels(cells, [rows, cols], [height, width], [down, across]) {
  const pixels = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * rows) / down);
    for (let x = 0; x < width; x++) {
      pixels[y * width + x] = cells[row * cols + Math.floor(((x + 0.5) * cols) / across)];
    }
  }
  return pixels;
}
