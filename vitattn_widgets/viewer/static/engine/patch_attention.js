// @ts-check
// Patch attention, eq. 3 of Calderaro et al. 2023: an attention row without its prefix keys, and what these took.

/**
 * Patch attention and prefix share of attention rows; shares are of absolute weight, as weights can be negative.
 *
 * @param {Float32Array} row (heads, keys)
 * @param {number} heads
 * @param {number} prefix number of prefix keys
 * @returns {{maps: Float32Array, prefixShare: Float32Array}} (heads, patches), each head's absolute values summing to
 *   1, or zeros if it attends to no patch; and (heads,) in 0..1
 */
export function splitPrefix(row, heads, prefix) {
  const keys = row.length / heads;
  const patches = keys - prefix;
  const maps = new Float32Array(heads * patches);
  const prefixShare = new Float32Array(heads);
  for (let head = 0; head < heads; head++) {
    const start = head * keys;
    let before = 0;
    for (let key = start; key < start + prefix; key++) before += Math.abs(row[key]);
    let left = 0;
    for (let key = start + prefix; key < start + keys; key++) left += Math.abs(row[key]);
    const weight = before + left;
    prefixShare[head] = Math.min(1, Math.max(0, 1 - (weight > 0 ? left / weight : 0)));
    if (!(left > 0)) continue;
    for (let patch = 0; patch < patches; patch++) maps[head * patches + patch] = row[start + prefix + patch] / left;
  }
  return { maps, prefixShare };
}
