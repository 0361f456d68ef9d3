// @ts-check
// The queries that a layer offers, by name or patch, in words and as text.

import { quoted, SettingsError } from "./errors.js";

/** @typedef {string | [number, number]} Query   A name ("class", "mean", "class+dist"), or a patch [row, col]. */

/**
 * A query as tensor names and requests write it.
 *
 * @param {Query} query
 * @returns {string} "class", or "3,4" for a patch
 */
export function queryText(query) {
  return typeof query === "string" ? query : `${query[0]},${query[1]}`;
}

/**
 * A query as people read it, for captions and titles.
 *
 * @param {Query} query
 * @param {Record<string, string>} words the capsule's `facts.words.queries`
 * @returns {string}
 */
export function queryWords(query, words) {
  if (typeof query === "string") return words[query] ?? `token ${query}`;
  return `patch at row ${query[0]}, col ${query[1]}`;
}

/**
 * A layer, head or class number as 0..count-1; negative numbers count from the end.
 *
 * @param {number} index
 * @param {number} count
 * @param {string} noun "layer", "head" or "class"
 * @param {string} where of what, for the message
 * @returns {number}
 * @throws {SettingsError} not a whole number, or out of range
 */
export function resolveIndex(index, count, noun, where) {
  if (!Number.isInteger(index)) {
    throw new SettingsError(
      `${noun} must be a whole number, got ${quoted(index)}; ${where} has ${noun}s 0..${count - 1}`,
    );
  }
  if (index < -count || index >= count) {
    throw new SettingsError(`${noun} ${index} does not exist; ${where} has ${noun}s 0..${count - 1}`);
  }
  return index < 0 ? index + count : index;
}

/**
 * The rows of a layer's attention matrix whose mean is the attention of a query.
 *
 * @param {Query} query
 * @param {{queries: string[], query_patches: boolean}} layer its facts
 * @param {[number, number]} grid rows and columns of the patches
 * @param {string} where model and layer, for the message
 * @returns {number[]}
 * @throws {SettingsError} the layer does not have this query
 */
export function queryIndices(query, layer, grid, where) {
  const [rows, cols] = grid;
  // the names that stand for one token each, in the order of the matrix; the patches follow
  const prefix = layer.queries.filter((name) => name !== "mean" && !name.includes("+"));
  if (typeof query === "string") {
    if (query === "mean" && layer.query_patches) {
      return Array.from({ length: rows * cols }, (_, patch) => prefix.length + patch);
    }
    const parts = query.split("+");
    if (parts.every((part) => prefix.includes(part))) return parts.map((part) => prefix.indexOf(part));
  } else if (layer.query_patches && Array.isArray(query) && query.length === 2 && query.every(Number.isInteger)) {
    const [row, col] = query;
    if (row >= 0 && row < rows && col >= 0 && col < cols) return [prefix.length + row * cols + col];
  }
  const reason = query === "class" ? " (no class token)" : "";
  const named = layer.queries.map(quoted).join(", ");
  const patches = ` or a patch (row, col) with row 0..${rows - 1}, col 0..${cols - 1}`;
  throw new SettingsError(
    `query ${quoted(query)} does not exist in ${where}${reason}; possible: ${named}${layer.query_patches ? patches : ""}`,
  );
}
