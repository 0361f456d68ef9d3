// @ts-check
// The arithmetic of differences: subtraction, symmetric range, colours over a grey picture.

import { colorNumber, valueRange } from "./drawing.js";

/** @typedef {import("./drawing.js").Box} Box */
/** @typedef {import("./drawing.js").Picture} Picture */

/** Values that differ by less, in the unit of compared maps, count as equal: equal maps differ by about 1e-6. */
export const NOISE = 1e-5;

/** @param {Float32Array} one @param {Float32Array} other @returns {Float32Array} */
export function minus(one, other) {
  return one.map((value, place) => value - other[place]);
}

/**
 * The differences that become -1 and 1.
 *
 * @param {Float32Array} difference in the unit of compared maps
 * @param {string} scale "shared", up to the largest, or "robust", up to a percentile
 * @returns {{most: number, largest: number}} the size that becomes 1, and the largest size; both 0 for equal maps
 */
export function differenceRange(difference, scale) {
  const sizes = difference.map(Math.abs);
  const largest = valueRange(sizes)[1];
  if (largest < NOISE) return { most: 0, largest: 0 };
  const robust = scale === "robust" ? valueRange(sizes, "robust")[1] : largest;
  // if only a few pixels differ, the percentile is noise, and those pixels are what must show
  return { most: robust >= NOISE ? robust : largest, largest };
}

/**
 * Lay a difference over a part of a picture, which is turned into light greys: where it is zero the picture shows, and
 * all colour is difference. The weight of a pixel's colour is `|heat| ** ((1 - opacity) / (2 opacity))`; at the usual
 * opacity of 0.5, that is the square root of `|heat|`.
 *
 * @param {Picture} picture changed in place
 * @param {Float32Array} heat -1..1, of the part's size
 * @param {Box} where the part, in whole pixels
 * @param {number} opacity 0 is the grey picture alone, 1 the coloured map alone
 * @param {Uint8Array} colors (256, 3)
 */
export function overlayDifference({ pixels, width }, heat, [left, top, right, bottom], opacity, colors) {
  const { fround } = Math;
  const power = fround((1 - opacity) / (2 * opacity));
  let at = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++, at++) {
      const place = 4 * (y * width + x);
      const grey = fround(fround(luma(pixels, place) * fround(0.6)) + 90);
      const color = 3 * colorNumber(fround(fround(heat[at] + 1) / 2));
      const part = opacity ? fround(Math.abs(heat[at]) ** power) : 0;
      const photo = fround(grey * fround(1 - part));
      for (let channel = 0; channel < 3; channel++) {
        pixels[place + channel] = fround(fround(photo + fround(colors[color + channel] * part)) + 0.5) | 0;
      }
    }
  }
}

/** @param {Uint8ClampedArray} pixels RGBA @param {number} place @returns {number} its grey value, as Pillow computes it */
function luma(pixels, place) {
  return (19595 * pixels[place] + 38470 * pixels[place + 1] + 7471 * pixels[place + 2] + 0x8000) >> 16;
}
