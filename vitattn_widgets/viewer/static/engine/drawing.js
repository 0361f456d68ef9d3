// @ts-check
// Drawing smoothed maps: scaled to 0..1, coloured, laid over the view or the whole photo.

import { percentiles, rangeOf, roundEven, TINY } from "./numbers.js";

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {[number, number]} ValueRange */
/** @typedef {[number, number, number, number]} Box   Left, top, right, bottom in pixels. */
/** @typedef {{blend: string, opacity: number, strength: number, colors: Uint8Array}} Blending */

/** Shares of the pixels that "robust" maps to 0 and 1, so that a few sink patches do not blacken the rest. */
const ROBUST_SHARES = [0.05, 0.95];

/** Share of the sizes of signed values that "robust" maps to the ends of the colours: few patches decide. */
const SIGNED_SHARE = 0.99;

/** Strength of a glow if no attention reaches the patches at all. */
const MIN_STRENGTH = 0.25;

/**
 * The raw values that a scale maps to 0 and 1.
 *
 * @param {Float32Array} heat raw smoothed map, or several for a common range
 * @param {string} scale "map" and "shared" take the smallest and largest value, "robust" percentiles
 * @param {boolean} [signed] of values for and against: the range is symmetric
 * @returns {ValueRange}
 */
export function valueRange(heat, scale = "map", signed = false) {
  if (signed) {
    const sizes = heat.map(Math.abs);
    const most = scale === "robust" ? percentiles(sizes, [SIGNED_SHARE])[0] : rangeOf(sizes)[1];
    return [0 - most, most];
  }
  if (scale !== "robust") return rangeOf(heat);
  const [low, high] = percentiles(heat, ROBUST_SHARES);
  return [low, high];
}

/**
 * Map raw values linearly to 0..1, clipped; a constant map becomes zeros, or 0.5, the zero of signed values.
 *
 * @param {Float32Array} heat
 * @param {ValueRange} limits
 * @param {boolean} [signed]
 * @returns {Float32Array}
 */
export function scaleMap(heat, [low, high], signed = false) {
  const { fround } = Math;
  const scaled = new Float32Array(heat.length);
  if (!(high - low > TINY)) return signed ? scaled.fill(0.5) : scaled;
  const from = fround(low);
  const span = fround(high - low);
  for (let at = 0; at < heat.length; at++) {
    const value = fround(fround(heat[at] - from) / span);
    scaled[at] = Math.max(0, Math.min(1, value));
  }
  return scaled;
}

/**
 * The factor that dims a glow if little of the attention reaches patches: 1 from one half on, never below 0.25.
 *
 * @param {number} patchShare share of the attention that goes to patches, 0..1
 */
export function glowStrength(patchShare) {
  return Math.min(1, Math.max(MIN_STRENGTH, 2 * patchShare));
}

/**
 * The 256 colours of a colour map.
 *
 * @param {Capsule} capsule
 * @param {string} cmap
 * @returns {Uint8Array} (256, 3)
 * @throws {SettingsError} the capsule does not hold it (see `missing`)
 */
export function colorTable(capsule, cmap) {
  return /** @type {Uint8Array} */ (capsule.tensor(`colors.${cmap}`).data);
}

/**
 * The number of a scaled value's colour, 0..255.
 *
 * @param {number} value 0..1
 */
export function colorNumber(value) {
  return Math.fround(Math.fround(value * 255) + 0.5) | 0;
}

/**
 * The 256 colours of a blending as pixels of a canvas, with the opacity as alpha.
 *
 * @param {Blending} blending
 * @returns {Uint32Array} (256,), each the four bytes of RGBA
 */
export function layerColors({ blend, opacity, strength, colors }) {
  const bytes = new Uint8ClampedArray(4 * 256);
  for (let number = 0; number < 256; number++) {
    bytes.set(colors.subarray(3 * number, 3 * number + 3), 4 * number);
    bytes[4 * number + 3] = 255 * opacity * (blend === "glow" ? (strength * number) / 255 : 1);
  }
  return new Uint32Array(bytes.buffer);
}

/**
 * A scaled map as a layer for a canvas: its colours, with the opacity as alpha.
 *
 * @param {Float32Array} heat 0..1
 * @param {Blending} blending
 * @returns {Uint8ClampedArray<ArrayBuffer>} RGBA, (pixels, 4)
 */
export function colorLayer(heat, blending) {
  return lookUp(heat, layerColors(blending));
}

/**
 * The pixels of a scaled map.
 *
 * @param {Float32Array} heat 0..1
 * @param {Uint32Array} colors from `layerColors`
 * @returns {Uint8ClampedArray<ArrayBuffer>} RGBA, (pixels, 4)
 */
export function lookUp(heat, colors) {
  const pixels = new Uint32Array(heat.length);
  for (let at = 0; at < heat.length; at++) pixels[at] = colors[colorNumber(heat[at])];
  return new Uint8ClampedArray(pixels.buffer);
}

/**
 * The pixels of a photo inside a crop.
 *
 * @param {Box} box may lie partly outside the photo
 * @param {number} width of the photo
 * @param {number} height
 * @returns {Box} in whole pixels
 */
export function cropPixels([left, top, right, bottom], width, height) {
  return [
    Math.max(0, roundEven(left)),
    Math.max(0, roundEven(top)),
    Math.min(width, roundEven(right)),
    Math.min(height, roundEven(bottom)),
  ];
}

/**
 * A map of the view, resampled bilinearly to the photo's pixels inside the crop.
 *
 * @param {Float32Array} heat (height, width) of the view
 * @param {[number, number]} size of the view, height and width
 * @param {Box} box place of the view in the photo
 * @param {Box} where the pixels inside it
 * @returns {Float32Array}
 */
export function placeOnSource(heat, [height, width], [left, top, right, bottom], where) {
  const down = placesOf(where[1], where[3], top, (bottom - top) / height, height);
  const across = placesOf(where[0], where[2], left, (right - left) / width, width);
  const placed = new Float32Array(down.length * across.length);
  let at = 0;
  for (const [upper, lower, weight] of down) {
    for (const [before, after, part] of across) {
      placed[at++] =
        heat[upper * width + before] * (1 - weight) * (1 - part) +
        heat[upper * width + after] * (1 - weight) * part +
        heat[lower * width + before] * weight * (1 - part) +
        heat[lower * width + after] * weight * part;
    }
  }
  return placed;
}

/**
 * For each photo pixel the two view pixels around its centre, and the weight of the second.
 *
 * @param {number} from
 * @param {number} to
 * @param {number} start of the view in the photo
 * @param {number} step photo pixels per view pixel
 * @param {number} count of view pixels
 * @returns {[number, number, number][]}
 */
function placesOf(from, to, start, step, count) {
  // pixels are squares with their centres at half numbers
  const offset = (from + 0.5 - start) / step - 0.5;
  return Array.from({ length: Math.max(0, to - from) }, (_, pixel) => {
    const place = Math.min(count - 1, Math.max(0, offset + pixel * (1 / step)));
    const first = Math.floor(place);
    return [first, Math.min(first + 1, count - 1), place - first];
  });
}

/**
 * The pixels of each of some patches.
 *
 * @param {Uint8Array} patches which ones, row first
 * @param {[number, number]} grid rows and columns
 * @param {Box} box place of the grid in the picture
 * @returns {Box[]} in pixels of the picture, not rounded
 */
export function patchBoxes(patches, [rows, cols], [left, top, right, bottom]) {
  const across = (right - left) / cols;
  const down = (bottom - top) / rows;
  /** @type {Box[]} */
  const boxes = [];
  patches.forEach((chosen, patch) => {
    if (!chosen) return;
    const [row, col] = [Math.floor(patch / cols), patch % cols];
    boxes.push([left + col * across, top + row * down, left + (col + 1) * across, top + (row + 1) * down]);
  });
  return boxes;
}
