// @ts-check
// Arithmetic that several modules share.

/** Smallest normal float32 number; a range that is smaller is none. */
export const TINY = 2 ** -126;

/**
 * @param {Float32Array} values at least one
 * @returns {[number, number]} the smallest and the largest one
 */
export function rangeOf(values) {
  let low = values[0];
  let high = values[0];
  for (let at = 1; at < values.length; at++) {
    low = Math.min(low, values[at]);
    high = Math.max(high, values[at]);
  }
  return [low, high];
}

/**
 * The place inside 0..count-1 of a place beyond the edges, continued by reflection with the edge repeated.
 *
 * @param {number} place
 * @param {number} count
 */
export function reflect(place, count) {
  const period = 2 * count;
  const inside = ((place % period) + period) % period;
  return inside < count ? inside : period - 1 - inside;
}

/** @param {number} value @returns {number} the nearest whole number, of two the even one, as Python rounds */
export function roundEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Most bins into which values are counted, so that only those of a few bins need be sorted. */
const MAX_BINS = 4096;

/**
 * Percentiles with linear interpolation, as NumPy computes them, without sorting all values.
 *
 * @param {Float32Array} values at least one, all finite
 * @param {number[]} shares 0..1, ascending
 * @returns {number[]}
 */
export function percentiles(values, shares) {
  const [low, high] = rangeOf(values);
  if (!(high > low)) return shares.map(() => low);
  const counts = new Int32Array(Math.min(MAX_BINS, values.length));
  const factor = (counts.length - 1) / (high - low);
  for (let at = 0; at < values.length; at++) counts[((values[at] - low) * factor) | 0]++;
  const places = shares.map((share) => (values.length - 1) * share);
  // the values at the places before and after each percentile, in the order of all values
  const last = values.length - 1;
  const wanted = places.flatMap((place) => [Math.floor(place), Math.min(Math.floor(place) + 1, last)]);
  const found = orderStatistics(values, wanted, counts, low, factor);
  return places.map((place, number) => {
    const [lower, upper] = [found[2 * number], found[2 * number + 1]];
    const part = place - Math.floor(place);
    const step = Math.fround(upper - lower);
    return part >= 0.5 ? upper - step * (1 - part) : lower + step * part;
  });
}

/**
 * The values at some places of the sorted values.
 *
 * @param {Float32Array} values
 * @param {number[]} wanted places
 * @param {Int32Array} counts number of values in each bin
 * @param {number} low the value at which the first bin begins
 * @param {number} factor bins per unit
 * @returns {number[]}
 */
function orderStatistics(values, wanted, counts, low, factor) {
  const chosen = new Uint8Array(counts.length);
  const ranks = wanted.map((place) => {
    let bin = 0;
    let below = 0;
    while (below + counts[bin] <= place) below += counts[bin++];
    chosen[bin] = 1;
    return { bin, inside: place - below };
  });
  let size = 0;
  for (let bin = 0; bin < counts.length; bin++) if (chosen[bin]) size += counts[bin];
  const kept = new Float32Array(size);
  let count = 0;
  for (let at = 0; count < size; at++) {
    if (chosen[((values[at] - low) * factor) | 0]) kept[count++] = values[at];
  }
  kept.sort();
  return ranks.map(({ bin, inside }) => {
    let before = 0;
    for (let other = 0; other < bin; other++) if (chosen[other]) before += counts[other];
    return kept[before + inside];
  });
}

/**
 * The sum of some numbers in single precision, added in NumPy's order, so that shares of it are rounded as there.
 *
 * @param {Float32Array} values
 * @param {number} [from]
 * @param {number} [to]
 * @returns {number}
 */
export function sum32(values, from = 0, to = values.length) {
  const { fround } = Math;
  const count = to - from;
  if (count > 128) {
    const half = from + (count >> 1) - ((count >> 1) % 8);
    return fround(sum32(values, from, half) + sum32(values, half, to));
  }
  let sum = 0;
  let at = from;
  if (count >= 8) {
    const sums = values.slice(from, from + 8);
    for (at = from + 8; at + 8 <= to; at += 8) for (let one = 0; one < 8; one++) sums[one] += values[at + one];
    for (const step of [1, 2, 4]) for (let one = 0; one < 8; one += 2 * step) sums[one] += sums[one + step];
    sum = sums[0];
  }
  for (; at < to; at++) sum = fround(sum + values[at]);
  return sum;
}
