// @ts-check
// Attention rows: those that the capsule holds, and any other from the queries and keys that the layer really used.

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
  const [heads, keys] = capsule.tensor(`layer${layer}.k`).shape;
  const total = new Float64Array(heads * keys);
  for (const query of queries) addRow(capsule, layer, query, total);
  const row = new Float32Array(total.length);
  for (let at = 0; at < row.length; at++) row[at] = total[at] / queries.length;
  return row;
}

/**
 * Add a query's row to a sum: the softmax of its scores over the keys.
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @param {number} query number of the row
 * @param {Float64Array} total (heads, keys)
 */
function addRow(capsule, layer, query, total) {
  const scores = rowScores(capsule, layer, query);
  const heads = capsule.tensor(`layer${layer}.k`).shape[0];
  const keys = scores.length / heads;
  for (let start = 0; start < scores.length; start += keys) {
    let largest = Number.NEGATIVE_INFINITY;
    for (let key = start; key < start + keys; key++) if (scores[key] > largest) largest = scores[key];
    let sum = 0;
    for (let key = start; key < start + keys; key++) {
      scores[key] = Math.exp(scores[key] - largest);
      sum += scores[key];
    }
    for (let key = start; key < start + keys; key++) total[key] += scores[key] / sum;
  }
}

/**
 * Scaled dot products of a query and all keys, with the layer's bias: `q k^T scale + bias`.
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @param {number} query
 * @returns {Float64Array} (heads, keys)
 */
function rowScores(capsule, layer, query) {
  const name = `layer${layer}`;
  const { data: q, shape: qShape } = capsule.tensor(`${name}.q`);
  const { data: k, shape: kShape } = capsule.tensor(`${name}.k`);
  const [heads, keys, width] = kShape;
  const queries = qShape[1];
  const factor = capsule.tensor(`${name}.scale`).data[0];
  // rounded operands are whole numbers times a scale per head and token
  const rounded = capsule.has(`${name}.q_scale`);
  const qScale = rounded ? capsule.floats(`${name}.q_scale`) : null;
  const kScale = rounded ? capsule.floats(`${name}.k_scale`) : null;
  const scores = new Float64Array(heads * keys);
  const row = new Float64Array(width);
  for (let head = 0; head < heads; head++) {
    const from = (head * queries + query) * width;
    const scale = factor * (qScale ? qScale[head * queries + query] : 1);
    for (let i = 0; i < width; i++) row[i] = q[from + i];
    for (let key = 0; key < keys; key++) {
      const place = head * keys + key;
      const at = place * width;
      let product = 0;
      for (let i = 0; i < width; i++) product += row[i] * k[at + i];
      scores[place] = product * scale * (kScale ? kScale[place] : 1);
    }
  }
  if (capsule.has(`${name}.bias.table`)) addBias(capsule, layer, query, scores);
  return scores;
}

/**
 * Add a bias that depends on the offset between patches alone (`OffsetBias`).
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @param {number} query
 * @param {Float64Array} scores (heads, keys)
 */
function addBias(capsule, layer, query, scores) {
  const name = `layer${layer}`;
  const [rows, cols] = capsule.facts.layers[layer].grid;
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
  const toPrefix = capsule.floats(`${name}.bias.to_prefix`);
  const patches = rows * cols;
  const patch = query - prefix;
  const [row, col] = [Math.floor(patch / cols), patch % cols];
  const [high, wide] = [2 * rows - 1, 2 * cols - 1];
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
