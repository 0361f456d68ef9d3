// @ts-check
// Attention sinks, patches that draw attention whatever the picture shows: left out and measured. Python finds them.

import { sum32 } from "./numbers.js";

/** The treatments that remove sinks from the map. */
export const LEFT_OUT = ["leave_out", "mark"];

/** The treatments that frame sinks on the picture. */
export const OUTLINED = ["outline", "mark"];

/**
 * Set some patches of maps to 0 and divide the rest by its sum.
 *
 * @param {Float32Array} maps (heads, patches)
 * @param {Uint8Array} sinks (patches,)
 * @param {boolean} each divide each head by its own sum; otherwise all by the mean of the sums
 * @returns {Float32Array} (heads, patches); all zeros if nothing is left
 */
export function leaveOut(maps, sinks, each) {
  const patches = sinks.length;
  const heads = maps.length / patches;
  const sums = new Float64Array(heads);
  for (let head = 0; head < heads; head++) {
    for (let patch = 0; patch < patches; patch++) {
      if (!sinks[patch]) sums[head] += Math.abs(maps[head * patches + patch]);
    }
  }
  if (!each) sums.fill(sums.reduce((total, sum) => total + sum, 0) / heads);
  const rest = new Float32Array(maps.length);
  for (let head = 0; head < heads; head++) {
    if (!(sums[head] > 0)) continue;
    for (let patch = 0; patch < patches; patch++) {
      if (!sinks[patch]) rest[head * patches + patch] = maps[head * patches + patch] / sums[head];
    }
  }
  return rest;
}

/**
 * The share of a map in some of its patches.
 *
 * @param {Float32Array} gridMap (patches,)
 * @param {Uint8Array} sinks (patches,)
 * @returns {number} 0..1; 0 for an all-zero map
 */
export function shareOf(gridMap, sinks) {
  const sizes = gridMap.map(Math.abs);
  const whole = sum32(sizes);
  return whole > 0 ? sum32(sizes.filter((_, patch) => sinks[patch])) / whole : 0;
}

/**
 * @param {Uint8Array} sinks (patches,)
 * @returns {number} how many
 */
export function countSinks(sinks) {
  return sinks.reduce((count, sink) => count + (sink ? 1 : 0), 0);
}
