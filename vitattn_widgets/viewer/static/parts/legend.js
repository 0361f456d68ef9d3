// @ts-check
// The colour bar, in multiples of the average patch, with the value under the pointer.

import { colorLayer, colorTable } from "../engine/drawing.js";
import { colorsOf, timesAverage } from "../engine/render.js";
import { element, setText } from "./dom.js";
import { mapCell } from "./marks.js";
import { term } from "./terms.js";

/** @typedef {import("./types.js").Now} Now */

const SHADES = 256;
const RAMP = Float32Array.from({ length: SHADES }, (_, shade) => shade / (SHADES - 1));

/**
 * A multiple of the average, as short as it can be read.
 * @param {number} times
 * @param {number} [span]   of the bar: where it is narrow, more digits tell its ends apart
 */
export function timesWords(times, span = 1) {
  if (Math.abs(times) >= 9.95) return String(Math.round(times));
  const digits = span > 0 && span < 0.2 ? Math.min(4, Math.ceil(-Math.log10(span)) + 1) : 1;
  const words = times.toFixed(digits);
  return Number(words) === 0 ? "0" : words;
}

/** @param {HTMLElement} bare   the button that shows the bare photo */
export function legendOf(bare) {
  const canvas = element("canvas", { width: SHADES, height: 1, "aria-hidden": "true" });
  const marker = element("i", { class: "va-marker", hidden: true });
  const average = element("i", { class: "va-average", title: "the average patch" });
  const bar = element("div", { class: "va-bar" }, canvas, average, marker);
  const low = element("span", {});
  const high = element("span", {});
  const node = element(
    "div",
    { class: "va-legend" },
    bare,
    low,
    bar,
    element("span", {}, high, " "),
    term("average", "times the average patch"),
  );
  /** @type {Now | null} */
  let now = null;
  let mean = 0;

  /** @param {number} times */
  const position = (times) => {
    const [lowest, highest] = now ? now.drawn.limits : [0, 1];
    return highest > lowest ? (times * mean - lowest) / (highest - lowest) : 0;
  };

  return {
    element: node,
    /** @param {[number, number] | null} patch */
    point(patch) {
      marker.hidden = !patch || !now;
      if (!patch || !now) return;
      const { layer } = now.prepared.raw.resolved;
      const times = timesAverage(
        now.prepared,
        ...mapCell(now.capsule, layer, patch),
        now.capsule.facts.layers[layer].grid,
      );
      marker.style.left = `${100 * Math.min(1, Math.max(0, position(times)))}%`;
    },
    /** @param {Now} next */
    update(next) {
      now = next;
      const { prepared, drawn, settings, capsule } = next;
      /** @type {Float32Array} */
      const values = prepared.raw.gridMap;
      mean = values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length;
      const [lowest, highest] = drawn.limits;
      const span = mean ? (highest - lowest) / mean : 0;
      setText(low, mean ? timesWords(lowest / mean, span) : "0");
      setText(high, mean ? timesWords(highest / mean, span) : "0");
      const one = position(1);
      average.hidden = !(one > 0.02 && one < 0.98);
      average.style.left = `${100 * one}%`;
      const { source } = prepared.raw.resolved;
      const colors = colorTable(capsule, colorsOf(source, settings));
      const blend = source.signed ? "even" : settings.blend;
      const layer = colorLayer(RAMP, { blend, opacity: 1, strength: 1, colors });
      canvas.getContext("2d")?.putImageData(new ImageData(/** @type {any} */ (layer), SHADES, 1), 0, 0);
    },
  };
}
