// @ts-check
// Aggregating the maps of several heads into one.

import { quoted, SettingsError } from "./errors.js";

export const AGGREGATIONS = ["mean", "max", "mean_over_std"];

/** Smallest standard deviation to divide by, as a share of the mean. */
const STD_FLOOR = 1e-6;

/**
 * The aggregations of a layer with this many heads: a single head has no mean / std.
 *
 * @param {number} heads
 * @returns {string[]}
 */
export function possibleAggregations(heads) {
  return heads > 1 ? AGGREGATIONS : AGGREGATIONS.filter((name) => name !== "mean_over_std");
}

/**
 * Aggregate raw attention maps over the heads, in double precision; scaling comes last, never before.
 *
 * @param {Float32Array} maps (heads, patches)
 * @param {number} heads
 * @param {string} aggregation "mean", "max" or "mean_over_std" (eq. 4), whose std is the population's
 * @returns {Float32Array} (patches,)
 * @throws {SettingsError} unknown aggregation, no head, or mean / std of fewer than two heads
 */
export function aggregateHeads(maps, heads, aggregation) {
  if (!AGGREGATIONS.includes(aggregation)) {
    throw new SettingsError(`aggregation ${quoted(aggregation)} does not exist; possible: ${AGGREGATIONS.join(", ")}`);
  }
  if (heads < 1) throw new SettingsError("maps of no head cannot be aggregated; a layer has one head or more");
  if (aggregation === "mean_over_std" && heads < 2) {
    throw new SettingsError("mean_over_std needs at least two heads, this layer has one; choose 'mean' or 'max'");
  }
  const patches = maps.length / heads;
  const result = new Float32Array(patches);
  for (let patch = 0; patch < patches; patch++) {
    let sum = 0;
    let largest = Number.NEGATIVE_INFINITY;
    for (let at = patch; at < maps.length; at += patches) {
      sum += maps[at];
      largest = Math.max(largest, maps[at]);
    }
    const mean = sum / heads;
    if (aggregation === "mean") result[patch] = mean;
    else if (aggregation === "max") result[patch] = largest;
    else result[patch] = overStd(maps, patch, patches, mean);
  }
  return result;
}

/**
 * @param {Float32Array} maps (heads, patches)
 * @param {number} patch
 * @param {number} patches
 * @param {number} mean over the heads
 */
function overStd(maps, patch, patches, mean) {
  let squares = 0;
  for (let at = patch; at < maps.length; at += patches) squares += (maps[at] - mean) * (maps[at] - mean);
  const std = Math.max(Math.sqrt(squares / (maps.length / patches)), STD_FLOOR * Math.abs(mean));
  return std > 0 ? mean / std : 0;
}
