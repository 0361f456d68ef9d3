// @ts-check
// A grid map becomes a map of the view's size: bilinear, median over a disk, Gaussian. In raw units, in single
// precision with the same roundings as in Python, so that both draw the same pixels.

import { diskMedian } from "./median.js";
import { reflect } from "./numbers.js";

/** @typedef {[number, number]} Size   Height and width in pixels. */

/** Standard deviations after which the Gaussian is cut. */
const TRUNCATE = 4;

/**
 * Upscale a grid map to the view and smooth it, as in Calderaro et al. 2023, section 3.
 *
 * @param {Float32Array} gridMap (rows, cols), raw
 * @param {[number, number]} grid rows and columns
 * @param {Size} size of the view
 * @param {number} patchSize side of a patch in pixels
 * @param {{bilinear: boolean, median: boolean, gaussian: boolean}} steps
 * @returns {Float32Array} (height, width)
 */
export function smoothMap(gridMap, grid, size, patchSize, { bilinear, median, gaussian }) {
  // each step writes over the last one's map: new memory for each would cost more than some of them
  const heat = upscale(gridMap, grid, size, bilinear);
  if (median) diskMedian(heat, size, Math.floor(patchSize / 2), heat);
  return gaussian ? gaussianBlur(heat, size, patchSize / 4, heat) : heat;
}

/**
 * Upscale with half-pixel centres and clamped edges; the nearest patch where not `bilinear`.
 *
 * @param {Float32Array} gridMap (rows, cols)
 * @param {[number, number]} grid
 * @param {Size} size
 * @param {boolean} bilinear
 * @returns {Float32Array} (height, width)
 */
function upscale(gridMap, [rows, cols], [height, width], bilinear) {
  const { fround } = Math;
  const down = placesBetween(rows, height, bilinear);
  const across = placesBetween(cols, width, bilinear);
  const wide = new Float32Array(rows * width);
  for (let row = 0; row < rows; row++) {
    for (let x = 0; x < width; x++) {
      const weight = across.weight[x];
      const first = fround(gridMap[row * cols + across.first[x]] * fround(1 - weight));
      wide[row * width + x] = first + fround(gridMap[row * cols + across.second[x]] * weight);
    }
  }
  const heat = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    const first = down.first[y] * width;
    const second = down.second[y] * width;
    const weight = down.weight[y];
    const rest = fround(1 - weight);
    const start = y * width;
    for (let x = 0; x < width; x++) {
      heat[start + x] = fround(wide[first + x] * rest) + fround(wide[second + x] * weight);
    }
  }
  return heat;
}

/**
 * Where each pixel lies between the centres of two patches.
 *
 * @param {number} patches
 * @param {number} pixels
 * @param {boolean} bilinear otherwise each pixel belongs to the patch that it lies in
 * @returns {{first: Int32Array, second: Int32Array, weight: Float32Array}} two patches, and the weight of the second
 */
function placesBetween(patches, pixels, bilinear) {
  const first = new Int32Array(pixels);
  const second = new Int32Array(pixels);
  const weight = new Float32Array(pixels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const middle = (pixel + 0.5) * (patches / pixels);
    const place = bilinear ? Math.max(0, middle - 0.5) : Math.floor(middle);
    first[pixel] = Math.floor(place);
    second[pixel] = Math.min(first[pixel] + 1, patches - 1);
    weight[pixel] = place - first[pixel];
  }
  return { first, second, weight };
}

/**
 * Gaussian of standard deviation `sigma` in pixels, cut at 4 of them and continued by reflection.
 *
 * @param {Float32Array} heat (height, width)
 * @param {Size} size
 * @param {number} sigma
 * @param {Float32Array} [blurred] where to write, which may be `heat`
 * @returns {Float32Array} `blurred`, (height, width)
 */
function gaussianBlur(heat, [height, width], sigma, blurred = new Float32Array(heat.length)) {
  const weights = gaussianWeights(sigma);
  blurLines(heat, blurred, weights, { lines: width, jump: 1, length: height, step: width });
  blurLines(blurred, blurred, weights, { lines: height, jump: width, length: width, step: 1 });
  return blurred;
}

/** @param {number} sigma @returns {Float64Array} the weight at each distance from the centre, whose whole kernel sums to 1 */
function gaussianWeights(sigma) {
  const radius = Math.trunc(TRUNCATE * sigma + 0.5);
  const weights = Float64Array.from({ length: radius + 1 }, (_, distance) =>
    Math.exp((-0.5 / (sigma * sigma)) * distance * distance),
  );
  const sum = weights.reduce((total, weight) => total + 2 * weight, -weights[0]);
  return weights.map((weight) => weight / sum);
}

/** The line that is being blurred, continued at both ends: memory that the next one uses again. */
let line = new Float64Array(0);

/**
 * Blur the lines of a map, its columns or its rows, in double precision.
 *
 * Four neighbours are computed at once, so that the processor need not wait for one sum before it begins the next, and
 * each value of the line is read only once for all four. The order of each sum is SciPy's.
 *
 * @param {Float32Array} heat
 * @param {Float32Array} out may be `heat`
 * @param {Float64Array} weights at each distance from the centre
 * @param {{lines: number, jump: number, length: number, step: number}} layout number of lines, pixels from one line to
 *   the next, pixels of a line, and places from one of them to the next
 */
function blurLines(heat, out, weights, { lines, jump, length, step }) {
  const radius = weights.length - 1;
  const places = Int32Array.from({ length: length + 2 * radius }, (_, at) => reflect(at - radius, length) * step);
  if (line.length < places.length + 4) line = new Float64Array(places.length + 4);
  const values = line;
  const centre = weights[0];
  for (let number = 0; number < lines; number++) {
    const start = number * jump;
    for (let at = 0; at < places.length; at++) values[at] = heat[start + places[at]];
    for (let first = 0; first < length; first += 4) {
      let left = first;
      let right = first + 2 * radius;
      let a = values[first + radius] * centre;
      let b = values[first + radius + 1] * centre;
      let c = values[first + radius + 2] * centre;
      let d = values[first + radius + 3] * centre;
      let leftA = values[left];
      let leftB = values[left + 1];
      let leftC = values[left + 2];
      let rightB = values[right + 1];
      let rightC = values[right + 2];
      let rightD = values[right + 3];
      for (let distance = radius; distance > 0; distance--) {
        const weight = weights[distance];
        const leftD = values[left + 3];
        const rightA = values[right];
        a += (leftA + rightA) * weight;
        b += (leftB + rightB) * weight;
        c += (leftC + rightC) * weight;
        d += (leftD + rightD) * weight;
        left++;
        right--;
        leftA = leftB;
        leftB = leftC;
        leftC = leftD;
        rightD = rightC;
        rightC = rightB;
        rightB = rightA;
      }
      const at = start + first * step;
      out[at] = a;
      if (first + 1 < length) out[at + step] = b;
      if (first + 2 < length) out[at + 2 * step] = c;
      if (first + 3 < length) out[at + 3 * step] = d;
    }
  }
}
