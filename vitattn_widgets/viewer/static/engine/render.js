// @ts-check
// The composition that every part calls: a capsule and settings in, a picture and its captions out.

import { rawMap } from "./attribution.js";
import { captionOf, sentenceOf } from "./captions.js";
import { DIFFERENCE_CMAP, differenceLayer } from "./difference.js";
import { colorLayer, colorTable, glowStrength, scaleMap, valueRange } from "./drawing.js";
import { cellPixels, reachOf } from "./partitions.js";
import { requireChoices } from "./settings.js";
import { smoothMap } from "./smooth.js";
import { queryText } from "./tokens.js";

/** @typedef {import("./attribution.js").RawMap} RawMap */
/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./drawing.js").ValueRange} ValueRange */
/** @typedef {import("./settings.js").Settings} Settings */

/**
 * @typedef {Object} Prepared   A picture before colouring: all that does not depend on scale, opacity, colours, ground.
 * @property {RawMap} raw
 * @property {Uint8Array} sinks       the sinks of its layer, 0 or 1, row first
 * @property {Float32Array} heat      (height, width), smoothed, in raw units
 * @property {Uint8Array | null} reached   (height, width), the pixels that the query can reach; null if that is all
 * @property {number} width           of `heat`: the view's, or half of it if coarse
 * @property {number} height
 * @property {string} caption         the complete line
 * @property {string} sentence        the sentence for a person
 * @property {Map<string, ValueRange>} ranges   those of the scales that were drawn
 * @property {{range: ValueRange, heat: Float32Array} | null} scaled   what was drawn last
 */

/**
 * @typedef {Object} Drawn
 * @property {Float32Array} heat         (height, width) of the view, 0..1
 * @property {ValueRange} limits         the raw values that became 0 and 1
 * @property {Uint8ClampedArray<ArrayBuffer>} colors  RGBA of the map alone, (height, width, 4): a layer to be drawn over the picture
 * @property {boolean} signed            whether 0.5 of `heat` is zero and `colors` belong over a light grey picture
 * @property {number} width              of `heat` and `colors`
 * @property {number} height
 * @property {number} strength           factor of a glow, 0.25..1
 */

/** Pixels of the smoothed maps kept per capsule, which with what was drawn of them take 24 MB. */
const KEPT_PIXELS = 3_000_000;

/** Smoothed maps kept however large they are: a row of panels, or the layers around the one that is shown. */
const KEPT_LEAST = 8;

/**
 * The raw map, its sinks, its smoothed heat and its captions, each computed once.
 *
 * @param {Capsule} capsule
 * @param {Settings} settings
 * @param {{coarse?: boolean}} [options] coarse: at half the view's size, for a frame while something is dragged
 * @returns {Prepared}
 * @throws {SettingsError} a setting that does not exist, or that this capsule does not have or cannot draw (see
 *   `missing`)
 */
export function prepareView(capsule, settings, { coarse = false } = {}) {
  requireChoices(settings);
  const raw = rawMap(capsule, settings);
  const { layer, head, aggregation, query, source, target, sinks } = raw.resolved;
  const { bilinear, median, gaussian } = settings;
  const parts = [layer, head, aggregation, queryText(query), source.name, target, sinks, bilinear, median, gaussian];
  const { picture } = capsule.facts;
  const { grid, covered, patch_size: side } = capsule.facts.layers[layer];
  const divisor = coarse ? 2 : 1;
  const [width, height] = picture.view_size.map((pixels) => Math.ceil(pixels / divisor));
  const kept = Math.max(KEPT_LEAST, Math.floor(KEPT_PIXELS / (width * height)));
  return capsule.remembered(coarse ? "coarse heat" : "heat", parts.join(), kept, () => {
    const size = /** @type {[number, number]} */ (covered.map((pixels) => Math.ceil(pixels / divisor)));
    const whole = smoothMap(raw.gridMap, grid, size, side / divisor, settings);
    const found = capsule.sinks(layer);
    const cells = reachOf(capsule, raw.resolved);
    return {
      raw,
      sinks: found,
      reached: cells && cellPixels(cells, grid, [height, width], size),
      heat: cropped(whole, size, [height, width]),
      width,
      height,
      caption: captionOf(capsule, raw, found),
      sentence: sentenceOf(capsule, raw, found),
      ranges: new Map(),
      scaled: null,
    };
  });
}

/**
 * The heat of the pixels that a scale is taken over: "robust" leaves out what the query cannot reach.
 *
 * @param {{heat: Float32Array, reached: Uint8Array | null}} prepared
 * @param {string} scale
 */
export function scaledOver({ heat, reached }, scale) {
  return reached && scale === "robust" ? heat.filter((_, at) => reached[at]) : heat;
}

/**
 * Scale and colour a prepared view.
 *
 * @param {Capsule} capsule
 * @param {Settings} settings those it was prepared with; scale, opacity, colours, blend and ground may differ
 * @param {Prepared} prepared
 * @param {ValueRange | null} [limits] raw values to map to 0 and 1, instead of the choice of `settings.scale`
 * @param {boolean} [signed] whether the middle of the limits is zero and the map is drawn as values for and against; else
 *   what its source says
 * @returns {Drawn}
 * @throws {SettingsError} the capsule lacks the colours
 */
export function drawView(capsule, settings, prepared, limits = null, signed = isSigned(prepared)) {
  const range = limits ?? ownLimits(settings, prepared);
  const heat = scaledHeat(prepared, range, signed);
  const strength = glowStrength(1 - prepared.raw.share);
  const { blend, opacity } = settings;
  const blending = { blend, opacity, strength, colors: colorTable(capsule, colorsOf({ signed }, settings)) };
  const { width, height } = prepared;
  return {
    heat,
    limits: range,
    colors: signed ? differenceLayer(withSigns(heat), blending, blending.colors) : colorLayer(heat, blending),
    signed,
    width,
    height,
    strength,
  };
}

/**
 * The value of a patch as a multiple of the average patch of its map.
 *
 * @param {Prepared} prepared
 * @param {number} row
 * @param {number} col
 * @param {[number, number]} grid
 * @returns {number} 0 in a map of zeros
 */
export function timesAverage(prepared, row, col, grid) {
  const { gridMap } = prepared.raw;
  const average = gridMap.reduce((sum, value) => sum + Math.abs(value), 0) / gridMap.length;
  return average > 0 ? gridMap[row * grid[1] + col] / average : 0;
}

/**
 * The top left part of a map.
 *
 * @param {Float32Array} heat (height, width) of `from`
 * @param {[number, number]} from
 * @param {[number, number]} to
 */
function cropped(heat, from, to) {
  const [height, width] = to;
  if (from[0] === height && from[1] === width) return heat;
  const part = new Float32Array(height * width);
  for (let y = 0; y < height; y++) part.set(heat.subarray(y * from[1], y * from[1] + width), y * width);
  return part;
}

/** @param {Prepared} prepared */
function isSigned(prepared) {
  return prepared.raw.resolved.source.signed;
}

/**
 * @param {Prepared} prepared
 * @param {ValueRange} range
 * @param {boolean} signed
 * @returns {Float32Array} computed again only for another range
 */
function scaledHeat(prepared, range, signed) {
  const [low, high] = prepared.scaled?.range ?? [];
  if (prepared.scaled && low === range[0] && high === range[1]) return prepared.scaled.heat;
  const heat = scaleMap(prepared.heat, range, signed);
  prepared.scaled = { range, heat };
  return heat;
}

/** @param {Float32Array} heat 0..1, 0.5 is zero @returns {Float32Array} -1..1 */
function withSigns(heat) {
  return heat.map((value) => Math.fround(2 * value) - 1);
}

/**
 * The colour map that a map is drawn in: the chosen one, or one that is neutral at zero for values with signs.
 *
 * @param {{signed: boolean}} source
 * @param {{cmap: string}} settings
 */
export function colorsOf({ signed }, { cmap }) {
  return signed ? DIFFERENCE_CMAP : cmap;
}

/** @param {Settings} settings @param {Prepared} prepared @returns {ValueRange} */
function ownLimits({ scale }, prepared) {
  const known = prepared.ranges.get(scale);
  if (known) return known;
  // alone, a shared scale is the range of all heads of the layer, if the map has their unit
  const { head, aggregation, source } = prepared.raw.resolved;
  const ratio = head === null && aggregation === "mean_over_std";
  const heads = scale === "shared" && !ratio && !source.no_head;
  const range = valueRange(heads ? prepared.raw.heads : scaledOver(prepared, scale), scale, source.signed);
  prepared.ranges.set(scale, range);
  return range;
}
