// @ts-check
// Values with signs: differences, their symmetric range, and colours over a grey picture.

import { colorNumber, valueRange } from "./drawing.js";

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

/** The colours of values with signs: blue below zero, white at zero, red above. */
export const DIFFERENCE_CMAP = "RdBu_r";

/**
 * The power of a pixel's size that is the weight of its colour: at the usual opacity of 0.5, the square root. A glow's
 * usual opacity is higher.
 *
 * @param {{opacity: number, blend: string}} look
 */
function weightPower({ opacity, blend }) {
  return Math.fround((1 - opacity) / (blend === "glow" ? opacity : 2 * opacity));
}

/**
 * Values with signs as a layer for a canvas, to be laid over a light grey picture.
 *
 * @param {Float32Array} heat -1..1
 * @param {{opacity: number, blend: string}} look
 * @param {Uint8Array} colors (256, 3)
 * @returns {Uint8ClampedArray<ArrayBuffer>} RGBA, (pixels, 4)
 */
export function differenceLayer(heat, look, colors) {
  const power = weightPower(look);
  const layer = new Uint8ClampedArray(4 * heat.length);
  for (let at = 0; at < heat.length; at++) {
    const color = 3 * colorNumber((heat[at] + 1) / 2);
    for (let channel = 0; channel < 3; channel++) layer[4 * at + channel] = colors[color + channel];
    layer[4 * at + 3] = look.opacity ? 255 * Math.abs(heat[at]) ** power : 0;
  }
  return layer;
}
