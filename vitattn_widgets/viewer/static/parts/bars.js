// @ts-check
// Colour bars of panels and figures: their colours as a blend shows them, and their ticks.

import { colorLayer, colorTable } from "../engine/drawing.js";
import { element, setText } from "./dom.js";
import { timesWords } from "./legend.js";

/** @typedef {import("./types.js").Capsule} Capsule */
/**
 * @typedef {Object} Bar
 * @property {Uint8ClampedArray} colors   RGBA of its steps, from the lowest value to the highest
 * @property {string[]} ticks             texts at even distances
 * @property {string} unit
 */

const BAR_STEPS = 256;
const BAR_RAMP = Float32Array.from({ length: BAR_STEPS }, (_, step) => step / (BAR_STEPS - 1));

/**
 * @param {Capsule} capsule
 * @param {{cmap: string, blend: string}} look
 * @param {[number, number]} limits   values at both ends, in multiples of the average patch
 * @param {string} unit
 * @param {number} [count]   of ticks
 * @returns {Bar}
 */
export function barOf(capsule, { cmap, blend }, [low, high], unit, count = 3) {
  const colors = colorLayer(BAR_RAMP, { blend, opacity: 1, strength: 1, colors: colorTable(capsule, cmap) });
  const ticks = Array.from({ length: count }, (_, place) =>
    timesWords(low + ((high - low) * place) / (count - 1), high - low),
  );
  return { colors, ticks: high > low ? ticks : [timesWords(low)], unit };
}

/**
 * @param {Bar} bar
 * @returns {HTMLCanvasElement} one pixel high, to be stretched
 */
export function barStrip({ colors }) {
  const strip = element("canvas", { width: colors.length / 4, height: 1, "aria-hidden": "true" });
  const pixels = new ImageData(/** @type {Uint8ClampedArray<ArrayBuffer>} */ (colors), colors.length / 4, 1);
  strip.getContext("2d")?.putImageData(pixels, 0, 0);
  return strip;
}

/** A colour bar on the page. */
export function barPlate() {
  const strip = element("div", { class: "va-bar-strip" });
  const ticks = element("div", { class: "va-bar-ticks" });
  const unit = element("div", { class: "va-bar-unit" });
  return {
    element: element("div", { class: "va-bar-plate" }, strip, ticks, unit),
    /** @param {Bar} bar */
    show(bar) {
      strip.replaceChildren(barStrip(bar));
      ticks.replaceChildren(...bar.ticks.map((tick) => element("span", {}, tick)));
      setText(unit, bar.unit);
    },
  };
}
