// @ts-check
// Median over a disk, by a histogram that slides over the map: only the edges of the disk go out and come in.

import { rangeOf, reflect, TINY } from "./numbers.js";

/** Levels of the median. Laid over the range of the medians, a level is finer than one display level of 256. */
const MEDIAN_LEVELS = 384;

/** After this many attempts to find the range of the medians, the slow exact filter is used instead. */
const MAX_PASSES = 8;

/** How many pixels of the disk have each code; codes are 16 bit numbers. */
const histogram = new Int32Array(2 ** 16);

/** The codes of the padded map and their medians: memory that the next map uses again. */
let codes = new Uint16Array(0);
let medians = new Uint16Array(0);

/**
 * Median over a disk, continued by reflection: Python's `disk_median`, with the same levels and so the same values.
 *
 * The map is rounded to `MEDIAN_LEVELS` levels laid over the range of the medians, which is estimated on a subsampled
 * map; if the result touches a clipped end or fills less than half of the levels, a better range is tried.
 *
 * @param {Float32Array} heat (height, width)
 * @param {[number, number]} size
 * @param {number} radius of the disk, in pixels; below 1 nothing changes
 * @param {Float32Array} [filtered] where to write, which may be `heat`
 * @returns {Float32Array} `filtered`, (height, width), off by at most 1 / MEDIAN_LEVELS of the range of the medians
 */
export function diskMedian(heat, size, radius, filtered = new Float32Array(heat)) {
  if (radius < 1) return filtered;
  const [lowest, highest] = rangeOf(heat);
  if (highest - lowest < TINY) return filtered;
  let [low, high] = estimateRange(heat, size, radius);
  // the subsampled medians may miss the extremes; the second term opens a range that is empty
  let margin = 0.02 * (high - low) + 1e-3 * (highest - lowest);
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    low = Math.max(lowest, low - margin);
    high = Math.min(highest, high + margin);
    // codes are rounded values: code c stands for low + c * level, and rounding keeps the order, so the median of
    // the codes is the code of the median
    const level = (high - low) / (MEDIAN_LEVELS - 1);
    const most = encode(heat, size, radius, low, high, level);
    // a median at an end of the range may lie beyond it, unless that end is the map's own extreme
    const range = slide(size, radius, most, low > lowest ? 0 : -1, high < highest ? MEDIAN_LEVELS - 1 : -1);
    if (!range) {
      margin *= 4;
      continue;
    }
    const [first, last] = range;
    if (first === last || last - first >= MEDIAN_LEVELS / 2) return decode(filtered, low, level);
    // levels too coarse: zoom in, with one level to spare at each end
    [low, high] = [low + first * level, low + last * level];
    margin = level;
  }
  filtered.set(exactMedian(heat, size, radius));
  return filtered;
}

/**
 * The half height of a disk at each distance from its centre.
 *
 * @param {number} radius
 * @returns {Int32Array} for the distances 0..radius
 */
function halfHeights(radius) {
  return Int32Array.from({ length: radius + 1 }, (_, distance) =>
    Math.floor(Math.sqrt(radius * radius - distance * distance)),
  );
}

/**
 * The places of a disk's pixels in a map, relative to its centre.
 *
 * @param {number} radius
 * @param {number} stride pixels from one row of the map to the next
 * @returns {Int32Array} an odd number of places
 */
function diskPlaces(radius, stride) {
  const half = halfHeights(radius);
  /** @type {number[]} */
  const places = [];
  for (let row = -radius; row <= radius; row++) {
    const extent = half[Math.abs(row)];
    for (let col = -extent; col <= extent; col++) places.push(row * stride + col);
  }
  return Int32Array.from(places);
}

/**
 * A map with a margin, continued by reflection, of which only every `step`-th row and column is taken.
 *
 * @param {Float32Array} heat
 * @param {[number, number]} size
 * @param {number} margin on each side, in pixels of the result
 * @param {number} step
 * @returns {{padded: Float32Array, rows: number, cols: number, stride: number}} `rows` and `cols` without the margin
 */
function pad(heat, [height, width], margin, step) {
  const rows = Math.ceil(height / step);
  const cols = Math.ceil(width / step);
  const stride = cols + 2 * margin;
  const padded = new Float32Array(stride * (rows + 2 * margin));
  for (let row = 0; row < rows + 2 * margin; row++) {
    const from = reflect(row - margin, rows) * step * width;
    for (let col = 0; col < stride; col++) padded[row * stride + col] = heat[from + reflect(col - margin, cols) * step];
  }
  return { padded, rows, cols, stride };
}

/**
 * Roughly the smallest and the largest median: the exact ones of a subsampled map.
 *
 * @param {Float32Array} heat
 * @param {[number, number]} size
 * @param {number} radius
 * @returns {[number, number]}
 */
function estimateRange(heat, size, radius) {
  const step = Math.max(1, Math.floor(radius / 2));
  const reach = Math.floor(radius / step);
  const { padded, rows, cols, stride } = pad(heat, size, reach, step);
  const places = diskPlaces(reach, stride);
  const middle = (places.length - 1) / 2;
  const values = new Float32Array(places.length);
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      const centre = (row + reach) * stride + col + reach;
      let under = 0;
      let over = 0;
      for (let at = 0; at < places.length; at++) {
        const value = padded[centre + places[at]];
        if (value < low) under++;
        if (value > high) over++;
      }
      if (under <= middle && over <= middle) continue; // the median lies within the range found so far
      for (let at = 0; at < places.length; at++) values[at] = padded[centre + places[at]];
      const median = values.sort()[middle];
      low = Math.min(low, median);
      high = Math.max(high, median);
    }
  }
  return [low, high];
}

/**
 * The median of each disk's own values, for the rare map that no levels suit.
 *
 * @param {Float32Array} heat
 * @param {[number, number]} size
 * @param {number} radius
 * @returns {Float32Array}
 */
function exactMedian(heat, size, radius) {
  const { padded, cols, stride } = pad(heat, size, radius, 1);
  const places = diskPlaces(radius, stride);
  const values = new Float32Array(places.length);
  return heat.map((_, pixel) => {
    const centre = (Math.floor(pixel / cols) + radius) * stride + (pixel % cols) + radius;
    for (let at = 0; at < places.length; at++) values[at] = padded[centre + places[at]];
    return values.sort()[(places.length - 1) / 2];
  });
}

/**
 * Code a map with a margin, continued by reflection, into `codes`.
 *
 * @param {Float32Array} heat
 * @param {[number, number]} size
 * @param {number} radius width of the margin
 * @param {number} low value of code 0
 * @param {number} high largest value; beyond `low` and `high`, values are clipped
 * @param {number} level difference of two codes
 * @returns {number} the largest code
 */
function encode(heat, [height, width], radius, low, high, level) {
  const { fround } = Math;
  const stride = width + 2 * radius;
  const needed = stride * (height + 2 * radius);
  if (codes.length < needed) codes = new Uint16Array(needed);
  const coded = codes;
  const from = fround(low);
  const to = fround(high);
  const step = fround(level);
  let most = 0;
  for (let y = 0; y < height; y++) {
    const start = (y + radius) * stride + radius;
    for (let x = 0; x < width; x++) {
      let value = heat[y * width + x];
      if (value < from) value = from;
      if (value > to) value = to;
      const code = fround(fround(fround(value - from) / step) + 0.5) | 0;
      coded[start + x] = code;
      if (code > most) most = code;
    }
    for (let beyond = 1; beyond <= radius; beyond++) {
      coded[start - beyond] = coded[start + reflect(-beyond, width)];
      coded[start + width - 1 + beyond] = coded[start + reflect(width - 1 + beyond, width)];
    }
  }
  for (let beyond = 1; beyond <= radius; beyond++) {
    for (const row of [-beyond, height - 1 + beyond]) {
      const copied = (radius + reflect(row, height)) * stride;
      coded.copyWithin((radius + row) * stride, copied, copied + stride);
    }
  }
  return most;
}

/**
 * The medians of `codes`, into `medians`, along a path that goes right, down, left, down.
 *
 * The loops are written for speed, as this is most of the time of a frame: two rows of the disk at once, comparisons
 * as shifts of the sign bit, and whole numbers marked as such.
 *
 * @param {[number, number]} size
 * @param {number} radius
 * @param {number} most the largest code
 * @param {number} bottom a code that must not be a median: as soon as one is, the path ends
 * @param {number} top likewise
 * @returns {[number, number] | null} the smallest and the largest median; null if one was `bottom` or `top`
 */
function slide([height, width], radius, most, bottom, top) {
  const stride = width + 2 * radius;
  const half = halfHeights(radius);
  const places = diskPlaces(radius, stride);
  const middle = (places.length - 1) / 2;
  if (medians.length < height * width) medians = new Uint16Array(height * width);
  const source = codes;
  const found = medians;
  const counts = histogram;
  counts.fill(0, 0, most + 1);
  let centre = radius * stride + radius;
  for (const place of places) counts[source[centre + place]]++;
  const behind = new Int32Array(radius + 1); // at each distance from the centre's row, the pixel that goes out
  let median = 0;
  let under = 0; // how many codes of the disk are smaller than `median`
  let first = most;
  let last = 0;
  let pixel = 0;
  for (let y = 0; y < height; y++) {
    const step = y % 2 === 0 ? 1 : -1;
    for (let distance = 0; distance <= radius; distance++) behind[distance] = -half[distance] * step;
    if (y > 0) {
      for (let across = -radius; across <= radius; across++) {
        const extent = half[Math.abs(across)] * stride;
        const gone = source[centre + across - extent];
        const come = source[centre + across + extent + stride];
        counts[gone]--;
        counts[come]++;
        under += ((gone - median) >> 31) - ((come - median) >> 31);
      }
      centre += stride;
      pixel += width;
    }
    for (let moved = 0; moved < width; moved++) {
      if (moved > 0) {
        const gone = source[centre + behind[0]];
        const come = source[centre + step - behind[0]];
        counts[gone] = (counts[gone] - 1) | 0;
        counts[come] = (counts[come] + 1) | 0;
        let change = (((gone - median) >> 31) - ((come - median) >> 31)) | 0;
        let up = centre;
        let down = centre;
        for (let distance = 1; distance <= radius; distance++) {
          const edge = behind[distance];
          up = (up - stride) | 0;
          down = (down + stride) | 0;
          const goneUp = source[(up + edge) | 0];
          const goneDown = source[(down + edge) | 0];
          const comeUp = source[(up + step - edge) | 0];
          const comeDown = source[(down + step - edge) | 0];
          counts[goneUp] = (counts[goneUp] - 1) | 0;
          counts[comeUp] = (counts[comeUp] + 1) | 0;
          counts[goneDown] = (counts[goneDown] - 1) | 0;
          counts[comeDown] = (counts[comeDown] + 1) | 0;
          const left = ((goneUp - median) >> 31) + ((goneDown - median) >> 31);
          change = (change + left - ((comeUp - median) >> 31) - ((comeDown - median) >> 31)) | 0;
        }
        under = (under + change) | 0;
        centre += step;
        pixel += step;
      }
      while (under > middle) under -= counts[--median];
      while (under + counts[median] <= middle) under += counts[median++];
      found[pixel] = median;
      if (median < first) first = median;
      if (median > last) last = median;
      if (median === bottom || median === top) return null;
    }
  }
  return [first, last];
}

/**
 * Write the values of `medians`.
 *
 * @param {Float32Array} filtered
 * @param {number} low value of code 0
 * @param {number} level
 * @returns {Float32Array} `filtered`
 */
function decode(filtered, low, level) {
  const { fround } = Math;
  const from = fround(low);
  const step = fround(level);
  for (let pixel = 0; pixel < filtered.length; pixel++) filtered[pixel] = fround(medians[pixel] * step) + from;
  return filtered;
}
