// @ts-check
// Every layer and head at a glance: small maps of all of them in one picture.

import { aggregateHeads } from "./aggregate.js";
import { attentionRow, rowName } from "./attention.js";
import { colorTable, layerColors, lookUp, scaleMap, valueRange } from "./drawing.js";
import { reach } from "./partitions.js";
import { splitPrefix } from "./patch_attention.js";
import { samePlace } from "./resolve.js";
import { LEFT_OUT, leaveOut } from "./sinks.js";
import { queryText } from "./tokens.js";

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./tokens.js").Query} Query */

/**
 * @typedef {Object} Overview   One column per layer; the first row is all heads together, then one row per head.
 * @property {Uint8ClampedArray} pixels   RGBA of the whole picture, transparent where a layer has fewer heads
 * @property {number} width
 * @property {number} height
 * @property {[number, number]} cell      height and width of a cell in pixels, one per patch
 * @property {number} rows                rows of cells: 1 + the most heads of a layer
 * @property {number[]} heads             number of heads of each layer
 * @property {string[]} queries           the query of each layer, as text: its own default where it lacks the wanted one
 * @property {number} others              number of layers that lack the wanted one
 */

/** Most pixels of a cell's side in a model with stages, whose first layers have many patches. */
const MAX_CELL = 64;

/** Pictures kept per capsule. */
const KEPT_OVERVIEWS = 8;

/**
 * The raw attention of every layer and head, each on its own robust scale.
 *
 * @param {Capsule} capsule
 * @param {{layer: number, query: Query | null, cmap: string, sinks: string}} settings a patch is one of the layer's; in
 *   others it is the one at the same place. Sinks are apart: left out of map and scale where the settings leave them
 *   out, and clipped by the scale where they show them
 * @returns {Overview}
 * @throws {SettingsError} the capsule lacks the colours
 */
export function renderOverview(capsule, { layer: chosen, query, cmap, sinks }) {
  const grid = capsule.facts.layers[chosen].query_grid;
  const found = capsule.facts.layers.map((_, layer) => availableQuery(capsule, layer, query, grid));
  const shown = found.map((one, layer) => one ?? capsule.layer(layer).default_query);
  const queries = shown.map(queryText);
  const others = query === null ? 0 : found.filter((one) => one === null).length;
  const question = [cmap, LEFT_OUT.includes(sinks), others, ...queries].join(";");
  return capsule.remembered("overview", question, KEPT_OVERVIEWS, () => {
    const [rows, cols] = largestGrid(capsule);
    const heads = capsule.facts.layers.map((layer) => layer.heads);
    const lines = 1 + Math.max(...heads);
    const [width, height] = [heads.length * cols, lines * rows];
    const pixels = new Uint8ClampedArray(4 * width * height);
    const colors = layerColors({ blend: "even", opacity: 1, strength: 1, colors: colorTable(capsule, cmap) });
    for (const layer of heads.keys()) {
      const maps = cellMaps(capsule, layer, shown[layer], LEFT_OUT.includes(sinks));
      const one = shown[layer];
      const reached = typeof one === "string" ? null : reach(capsule, layer, one);
      maps.forEach((map, line) => {
        const seen = reached ? map.filter((_, at) => reached[at]) : map;
        const own = lookUp(scaleMap(map, valueRange(seen, "robust")), colors);
        const cell = enlarged(own, capsule.facts.layers[layer].grid, [rows, cols]);
        for (let row = 0; row < rows; row++) {
          const at = 4 * ((line * rows + row) * width + layer * cols);
          pixels.set(cell.subarray(4 * row * cols, 4 * (row + 1) * cols), at);
        }
      });
    }
    const cell = /** @type {[number, number]} */ ([rows, cols]);
    return { pixels, width, height, cell, rows: lines, heads, queries, others };
  });
}

/** @param {Capsule} capsule @returns {[number, number]} rows and columns of the finest of the layers' grids */
function largestGrid(capsule) {
  const grids = capsule.facts.layers.map(({ grid }) => grid);
  const most = (/** @type {number[]} */ sides) => Math.max(...sides);
  const [rows, cols] = [most(grids.map(([down]) => down)), most(grids.map(([, across]) => across))];
  if (!capsule.facts.layers.some(({ staged }) => staged)) return [rows, cols];
  return [Math.min(rows, MAX_CELL), Math.min(cols, MAX_CELL)];
}

/**
 * A small picture in the size of another grid: each pixel takes the colour of the patch that it lies in.
 *
 * @param {Uint8ClampedArray} pixels RGBA of `from`
 * @param {[number, number]} from rows and columns
 * @param {[number, number]} to
 */
function enlarged(pixels, from, to) {
  if (String(from) === String(to)) return pixels;
  const out = new Uint8ClampedArray(4 * to[0] * to[1]);
  for (let row = 0; row < to[0]; row++) {
    for (let col = 0; col < to[1]; col++) {
      const [down, across] = samePlace([row, col], to, from);
      const at = 4 * (down * from[1] + across);
      out.set(pixels.subarray(at, at + 4), 4 * (row * to[1] + col));
    }
  }
  return out;
}

/**
 * The maps of a layer, first all heads together, then each head.
 *
 * @param {Capsule} capsule
 * @param {number} layer
 * @param {Query} query
 * @param {boolean} withoutSinks
 * @returns {Float32Array[]} (patches,) each
 */
function cellMaps(capsule, layer, query, withoutSinks) {
  const row = attentionRow(capsule, layer, query);
  const { heads } = capsule.layer(layer);
  const { maps } = splitPrefix(row, heads, row.length / heads - capsule.numPatches(layer));
  const kept = withoutSinks ? leaveOut(maps, capsule.sinks(layer), true) : maps;
  const patches = kept.length / heads;
  const single = Array.from({ length: heads }, (_, head) => kept.subarray(head * patches, (head + 1) * patches));
  return [aggregateHeads(kept, heads, "mean"), ...single];
}

/**
 * The query in a layer; null if the layer does not have it, or the capsule lacks what its row needs.
 *
 * @param {Capsule} capsule
 * @param {number} layer
 * @param {Query | null} query null is the layer's default
 * @param {[number, number]} grid rows and columns of the grid on which a patch was chosen
 * @returns {Query | null}
 */
function availableQuery(capsule, layer, query, grid) {
  const { queries, query_patches: patches, query_grid: own, default_query: usual } = capsule.layer(layer);
  if (query === null) return usual;
  if (typeof query === "string" ? !queries.includes(query) : !patches) return null;
  const here = typeof query === "string" ? query : samePlace(query, grid, own);
  return capsule.has(rowName(layer, here)) || capsule.has(`layer${layer}.q`) ? here : null;
}
