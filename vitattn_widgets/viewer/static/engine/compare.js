// @ts-check
// Maps side by side on one scale, and the difference of two: panels in, pictures out.

import { DIFFERENCE_CMAP, differenceLayer, differenceRange, minus, NOISE } from "./difference.js";
import { colorTable, cropPixels, placeOnSource, valueRange } from "./drawing.js";
import { SettingsError } from "./errors.js";
import { differenceWords, panelTitles, samePhoto } from "./panels.js";
import { drawView, prepareView, scaledOver } from "./render.js";

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./drawing.js").Box} Box */
/** @typedef {import("./drawing.js").ValueRange} ValueRange */
/** @typedef {import("./panels.js").Panel} Panel */
/** @typedef {import("./render.js").Drawn} Drawn */
/** @typedef {import("./render.js").Prepared} Prepared */

/**
 * @typedef {Object} Comparison   Several pictures on one scale.
 * @property {Drawn[]} views       one per panel
 * @property {Prepared[]} prepared the same before colouring
 * @property {string[]} titles     one per panel, what distinguishes it; empty for a single panel
 * @property {string} common       what all panels share, in one line
 * @property {ValueRange} limits   the values that became 0 and 1 in every panel, in `unit`
 * @property {string} unit
 * @property {string} cmap         the colour map of every panel
 */

/**
 * @typedef {Object} DifferenceView   The difference of two maps.
 * @property {Float32Array} heat           -1..1, the difference of the smoothed maps, row first, at `where`
 * @property {Box} where                   the pixels of the ground that both models saw
 * @property {"view" | "original"} ground  the picture that it is laid over
 * @property {number} width                of the ground
 * @property {number} height
 * @property {Float32Array | null} gridMap the difference of the raw maps in `unit`, if both have the same patches
 * @property {ValueRange} limits           the differences that became -1 and 1, in `unit`
 * @property {string} unit
 * @property {string} cmap                 the colour map, neutral at 0
 * @property {string} title                what is subtracted from what, in short
 * @property {string} caption              the same in full, and the meaning of the colours, in one line
 * @property {Uint8ClampedArray<ArrayBuffer>} colors  RGBA at `where`, to be drawn over a light grey picture
 */

/** Scales that several panels can share. */
const COMPARED_SCALES = ["shared", "robust"];

/** The unit of compared maps, whatever their source. */
const COMPARED_UNIT = "times the average patch of its map";

const NOT_ONE_PHOTO =
  "a difference needs two maps of one photo, and these are of two photos, whose patches show different things; " +
  "compare them side by side instead";

/**
 * Draw panels of any sources, aggregations, layers, heads, models and photos on one scale.
 *
 * Raw maps of different sources, aggregations and grids have different units, so each is divided by the mean of the
 * absolute values of its grid map. Then 3 is three times the average patch of its map, whatever the map.
 *
 * @param {Panel[]} panels at least one; all are drawn in the colour map of the first
 * @param {string} [scale] "shared", from the smallest to the largest value of all panels, or "robust", percentiles
 * @returns {Comparison}
 * @throws {SettingsError} no panel, an unknown scale, or settings that a panel's capsule does not have
 */
export function compareViews(panels, scale = "shared") {
  if (!panels.length) throw new SettingsError("a comparison needs at least one panel");
  if (!COMPARED_SCALES.includes(scale)) {
    throw new SettingsError(`scale '${scale}' cannot be shared by panels; possible: ${COMPARED_SCALES.join(", ")}`);
  }
  const prepared = panels.map(preparePanel);
  const signed = prepared.some((one) => one.raw.resolved.source.signed);
  const heats = prepared.map((one) => scaledOver({ heat: inUnit(one), reached: one.reached }, scale));
  const limits = commonRange(heats, scale, signed);
  const cmap = signed ? DIFFERENCE_CMAP : panels[0].settings.cmap;
  const views = prepared.map((one, place) => {
    const { capsule, settings } = panels[place];
    const factor = factorOf(one);
    const raw = /** @type {ValueRange} */ (limits.map((limit) => limit * factor));
    return drawView(capsule, { ...settings, cmap, scale }, one, raw, signed);
  });
  return { views, prepared, ...panelTitles(panels), limits, unit: COMPARED_UNIT, cmap };
}

/**
 * The first map minus the second, each in the unit of `compareViews`.
 *
 * Red means more in the first, blue more in the second, and where they agree the photo shows. The range is symmetric.
 * Maps of one view are subtracted there; others, from models with different crops or sizes, on the part of the photo
 * that both models saw.
 *
 * @param {Panel} first the picture takes its opacity and ground
 * @param {Panel} second a panel of the same photo
 * @param {string} [scale] "shared", up to the largest difference, or "robust", up to a percentile of the differences
 * @returns {DifferenceView}
 * @throws {SettingsError} two photos, no part of the photo that both models saw, an unknown scale, or settings that a
 *   panel's capsule does not have
 */
export function differenceView(first, second, scale = "shared") {
  if (!COMPARED_SCALES.includes(scale)) {
    throw new SettingsError(
      `scale '${scale}' does not exist for a difference; possible: ${COMPARED_SCALES.join(", ")}`,
    );
  }
  if (!samePhoto(first.capsule, second.capsule)) throw new SettingsError(NOT_ONE_PHOTO);
  const [one, other] = [preparePanel(first), preparePanel(second)];
  const ground = differenceGround(first, second);
  const { view_size, photo_size } = first.capsule.facts.picture;
  const [width, height] = ground === "view" ? view_size : photo_size;
  const { where, difference } =
    ground === "view"
      ? { where: /** @type {Box} */ ([0, 0, width, height]), difference: minus(...inCommonUnit(one, other)) }
      : differenceOnPhoto(first, one, second, other);
  const { most, largest } = differenceRange(difference, scale);
  const heat = difference.map((value) => (most ? Math.max(-1, Math.min(1, value / Math.fround(most))) : 0));
  return {
    heat,
    where,
    ground,
    width,
    height,
    gridMap: differenceGrid(first, one, second, other),
    limits: [0 - most, most],
    unit: COMPARED_UNIT,
    cmap: DIFFERENCE_CMAP,
    ...differenceWords(first, second, largest),
    colors: differenceLayer(heat, first.settings, colorTable(first.capsule, DIFFERENCE_CMAP)),
  };
}

/**
 * The picture that a difference is laid over: the view of the first panel if it shows it and the other model saw the
 * same, else the whole photo.
 *
 * @param {Panel} first
 * @param {Panel} second
 * @returns {"view" | "original"}
 */
function differenceGround(first, second) {
  return first.settings.on === "view" && sameView(first.capsule, second.capsule) ? "view" : "original";
}

/** @param {Capsule} first @param {Capsule} second of the same photo */
function sameView(first, second) {
  const [one, other] = [first.facts.picture, second.facts.picture];
  return String(one.crop_box) === String(other.crop_box) && String(one.view_size) === String(other.view_size);
}

/** @param {Panel} panel @returns {Prepared} */
function preparePanel({ capsule, settings }) {
  return prepareView(capsule, { ...settings, scale: "map" });
}

/** What is known of prepared maps: their average patch, and their heat in multiples of it.
 * @type {WeakMap<Prepared, {factor: number, heat: Float32Array}>} */
const inUnits = new WeakMap();

/** @param {Prepared} prepared @returns {{factor: number, heat: Float32Array}} */
function unitsOf(prepared) {
  const known = inUnits.get(prepared);
  if (known) return known;
  const { gridMap } = prepared.raw;
  const factor = gridMap.reduce((sum, value) => sum + Math.abs(value), 0) / gridMap.length || 1;
  const units = { factor, heat: prepared.heat.map((value) => value / Math.fround(factor)) };
  inUnits.set(prepared, units);
  return units;
}

/** @param {Prepared} prepared @returns {number} the raw units of its average patch; 1 for a map of zeros */
function factorOf(prepared) {
  return unitsOf(prepared).factor;
}

/** @param {Prepared} prepared @returns {Float32Array} its heat in multiples of its average patch */
function inUnit(prepared) {
  return unitsOf(prepared).heat;
}

/**
 * Two maps in multiples of their average patches. Contributions of one source have a unit of their own: both are divided
 * by the mean of their averages, so that their difference is that of the contributions.
 *
 * @param {Prepared} one
 * @param {Prepared} other
 * @returns {[Float32Array, Float32Array]}
 */
function inCommonUnit(one, other) {
  const factors = commonFactors(one, other);
  if (factors[0] === factorOf(one) && factors[1] === factorOf(other)) return [inUnit(one), inUnit(other)];
  const [here, there] = [one, other].map(({ heat }, place) => heat.map((value) => value / Math.fround(factors[place])));
  return [here, there];
}

/** @param {Prepared} one @param {Prepared} other @returns {[number, number]} */
function commonFactors(one, other) {
  const [here, there] = [factorOf(one), factorOf(other)];
  const { source } = one.raw.resolved;
  if (!source.signed || source.name !== other.raw.resolved.source.name) return [here, there];
  return [(here + there) / 2, (here + there) / 2];
}

/** @param {Float32Array[]} heats @param {string} scale @param {boolean} signed @returns {ValueRange} */
function commonRange(heats, scale, signed) {
  const all = new Float32Array(heats.reduce((count, heat) => count + heat.length, 0));
  let at = 0;
  for (const heat of heats) {
    all.set(heat, at);
    at += heat.length;
  }
  const [low, high] = valueRange(all, scale, signed);
  return high - low < NOISE ? [signed ? 0 : low, signed ? 0 : low] : [low, high]; // maps that differ by rounding alone are drawn as zeros
}

/**
 * @param {Panel} first
 * @param {Prepared} one
 * @param {Panel} second
 * @param {Prepared} other
 * @returns {Float32Array | null}
 */
function differenceGrid(first, one, second, other) {
  const grids = [
    first.capsule.facts.layers[one.raw.resolved.layer].grid,
    second.capsule.facts.layers[other.raw.resolved.layer].grid,
  ];
  const same = String(grids[0]) === String(grids[1]);
  if (!same || !sameView(first.capsule, second.capsule)) return null;
  const factors = commonFactors(one, other);
  const [here, there] = [one, other].map((own, place) =>
    own.raw.gridMap.map((value) => value / Math.fround(factors[place])),
  );
  return minus(here, there);
}

/**
 * The difference of two views' maps in the pixels of their photo, and the place that both cover.
 *
 * @param {Panel} first
 * @param {Prepared} one
 * @param {Panel} second
 * @param {Prepared} other
 * @returns {{where: Box, difference: Float32Array}}
 */
function differenceOnPhoto(first, one, second, other) {
  const [width, height] = first.capsule.facts.picture.photo_size;
  const boxes = [first, second].map(({ capsule }) => capsule.facts.picture.crop_box);
  const [here, there] = boxes.map((box) => cropPixels(box, width, height));
  /** @type {Box} */
  const where = [
    Math.max(here[0], there[0]),
    Math.max(here[1], there[1]),
    Math.min(here[2], there[2]),
    Math.min(here[3], there[3]),
  ];
  if (where[2] <= where[0] || where[3] <= where[1]) {
    throw new SettingsError(
      "the two models saw no common part of the photo, so there is nothing to subtract; compare them side by side " +
        "instead",
    );
  }
  const units = inCommonUnit(one, other);
  const [ours, theirs] = [one, other].map((own, place) => onPart(own, units[place], boxes[place], where));
  return { where, difference: minus(ours, theirs) };
}

/**
 * @param {Prepared} prepared
 * @param {Float32Array} units its heat in multiples
 * @param {Box} box its view in the photo
 * @param {Box} where
 * @returns {Float32Array}
 */
function onPart(prepared, units, box, where) {
  return placeOnSource(units, [prepared.height, prepared.width], box, where);
}
