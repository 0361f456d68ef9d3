// @ts-check
// Attention rows: those that the capsule holds, and any other from the queries and keys that the layer really used.

import { windowsOf } from "./partitions.js";
import { queryText } from "./tokens.js";

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./tokens.js").Query} Query */

/** Rows kept per capsule, about 10 kB each. */
const KEPT_ROWS = 256;

/**
 * The model's own attention row of a query.
 *
 * @param {Capsule} capsule
 * @param {number} layer
 * @param {Query} query
 * @returns {Float32Array} (heads, keys), what multiplied the layer's values
 * @throws {SettingsError} no such layer or query, or the capsule lacks the row and what it follows from
 */
export function attentionRow(capsule, layer, query) {
  const index = capsule.layerIndex(layer);
  const indices = capsule.queryIndices(index, query);
  const name = rowName(index, query);
  if (capsule.has(name) || !capsule.has(`layer${index}.q`)) return capsule.floats(name);
  return capsule.remembered("row", name, KEPT_ROWS, () => meanRow(capsule, index, indices));
}

/**
 * The name of the tensor with a query's row.
 *
 * @param {number} layer from 0 on
 * @param {Query} query
 */
export function rowName(layer, query) {
  return `layer${layer}.row.${queryText(query)}`;
}

/**
 * Mean attention of some queries of a layer, from its operands.
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @param {number[]} queries
 * @returns {Float32Array} (heads, keys)
 */
function meanRow(capsule, layer, queries) {
  const { heads, key_prefix: prefix, padding } = capsule.facts.layers[layer];
  const total = new Float64Array(heads * (prefix.length + padding + capsule.numPatches(layer)));
  for (const query of queries) addRow(capsule, layer, query, total);
  const row = new Float32Array(total.length);
  for (let at = 0; at < row.length; at++) row[at] = total[at] / queries.length;
  return row;
}

/**
 * Add a query's row to a sum: the softmax of its scores over the keys that it sees, and nothing elsewhere.
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @param {number} query number of the row
 * @param {Float64Array} total (heads, keys)
 */
function addRow(capsule, layer, query, total) {
  const seen = seenBy(capsule, layer, query);
  const scores = rowScores(capsule, layer, seen);
  const { heads } = capsule.facts.layers[layer];
  const keys = total.length / heads;
  for (let head = 0; head < heads; head++) {
    const start = head * seen.count;
    const end = start + seen.count;
    let largest = Number.NEGATIVE_INFINITY;
    for (let at = start; at < end; at++) if (scores[at] > largest) largest = scores[at];
    let sum = 0;
    for (let at = start; at < end; at++) {
      scores[at] = Math.exp(scores[at] - largest);
      sum += scores[at];
    }
    for (let slot = 0; slot < seen.count; slot++) {
      const key = seen.keys ? seen.keys[seen.first + slot] : slot;
      total[head * keys + key] += scores[start + slot] / sum;
    }
  }
}

/**
 * @typedef {Object} Seen   Where a query and the keys that it sees stand among the layer's operands.
 * @property {number} query                       place of the query among the queries
 * @property {number} window                      number of its window; 0 if every query sees every key
 * @property {number} slot                        its place in the window
 * @property {number} first                       place of the first key that it sees
 * @property {number} count                       number of keys that it sees
 * @property {ArrayLike<number> | null} keys      the number of each key; null if they are in order
 * @property {ArrayLike<number> | null} regions   of query and keys: those of another region are masked
 */

/**
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @param {number} query number of the row
 * @returns {Seen}
 */
function seenBy(capsule, layer, query) {
  const windows = windowsOf(capsule, layer);
  if (!windows) {
    const count = capsule.tensor(`layer${layer}.k`).shape[1];
    return { query, window: 0, slot: query, first: 0, count, keys: null, regions: null };
  }
  const { slots, keys, regions, querySlots, places } = windows;
  const place = places[query];
  const window = Math.floor(place / querySlots);
  return { query: place, window, slot: place % querySlots, first: window * slots, count: slots, keys, regions };
}

/** What timm adds to the scores of masked pairs. */
const MASKED = -100;

/**
 * Scaled dot products of a query and the keys that it sees, with the layer's bias: `q k^T scale + bias`.
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @param {Seen} seen
 * @returns {Float64Array} (heads, keys that it sees)
 */
function rowScores(capsule, layer, seen) {
  const { query, first, count, regions } = seen;
  const name = `layer${layer}`;
  const { data: q, shape: qShape } = capsule.tensor(`${name}.q`);
  const { data: k, shape: kShape } = capsule.tensor(`${name}.k`);
  const [heads, keys, width] = kShape;
  const queries = qShape[1];
  const factors = capsule.tensor(`${name}.scale`).data;
  // rounded operands are whole numbers times a scale per head and token
  const rounded = capsule.has(`${name}.q_scale`);
  const qScale = rounded ? capsule.floats(`${name}.q_scale`) : null;
  const kScale = rounded ? capsule.floats(`${name}.k_scale`) : null;
  const scores = new Float64Array(heads * count);
  const row = new Float64Array(width);
  for (let head = 0; head < heads; head++) {
    const from = (head * queries + query) * width;
    const scale = factors[head % factors.length] * (qScale ? qScale[head * queries + query] : 1);
    for (let i = 0; i < width; i++) row[i] = q[from + i];
    for (let key = 0; key < count; key++) {
      const place = head * keys + first + key;
      const at = place * width;
      let product = 0;
      for (let i = 0; i < width; i++) product += row[i] * k[at + i];
      scores[head * count + key] = product * scale * (kScale ? kScale[place] : 1);
      if (regions && regions[first + key] !== regions[query]) scores[head * count + key] += MASKED;
    }
  }
  if (capsule.has(`${name}.bias.table`)) addOffsetBias(capsule, layer, seen.slot, scores);
  if (capsule.has(`${name}.bias`)) addBias(capsule, layer, seen, scores);
  return scores;
}

/**
 * Add a bias that is kept as the layer has it (`DenseBias`); axes of 1 hold for all.
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @param {Seen} seen
 * @param {Float64Array} scores (heads, keys that it sees)
 */
function addBias(capsule, layer, { window, slot, count }, scores) {
  const { data: bias, shape } = capsule.tensor(`layer${layer}.bias`);
  const [windows, heads, queries] = shape;
  for (let at = 0; at < scores.length; at += count) {
    const head = ((window % windows) * heads + ((at / count) % heads)) * queries;
    const from = (head + (slot % queries)) * count;
    for (let key = 0; key < count; key++) scores[at + key] += bias[from + key];
  }
}

/**
 * Add a bias that depends on the offset between patches alone (`OffsetBias`).
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @param {number} query number of the row, or its place in its window
 * @param {Float64Array} scores (heads, keys that it sees)
 */
function addOffsetBias(capsule, layer, query, scores) {
  const name = `layer${layer}`;
  const { shape } = capsule.tensor(`${name}.bias.from_prefix`);
  const [heads, prefix, keys] = shape;
  if (query < prefix) {
    const from = capsule.floats(`${name}.bias.from_prefix`);
    for (let head = 0; head < heads; head++) {
      for (let key = 0; key < keys; key++) scores[head * keys + key] += from[(head * prefix + query) * keys + key];
    }
    return;
  }
  const table = capsule.floats(`${name}.bias.table`);
  const [high, wide] = capsule.tensor(`${name}.bias.table`).shape.slice(1);
  const [rows, cols] = [(high + 1) / 2, (wide + 1) / 2];
  const toPrefix = capsule.floats(`${name}.bias.to_prefix`);
  const patches = rows * cols;
  const patch = query - prefix;
  const [row, col] = [Math.floor(patch / cols), patch % cols];
  for (let head = 0; head < heads; head++) {
    const start = head * keys;
    for (let key = 0; key < prefix; key++) scores[start + key] += toPrefix[(head * patches + patch) * prefix + key];
    // the key in the grid's first row is `-row` away: the query's keys are one window of the table
    for (let down = 0; down < rows; down++) {
      const at = (head * high + rows - 1 - row + down) * wide + cols - 1 - col;
      const to = start + prefix + down * cols;
      for (let across = 0; across < cols; across++) scores[to + across] += table[at + across];
    }
  }
}
