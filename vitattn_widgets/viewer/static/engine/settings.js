// @ts-check
// What to show and how: the settings under their Python names.

import { AGGREGATIONS } from "./aggregate.js";
import { quoted, SettingsError } from "./errors.js";

/** @typedef {import("./tokens.js").Query} Query */

/**
 * @typedef {Object} MapSettings   Which map: the fields of Python's `MapSettings`.
 * @property {number} layer          negative ones count from the end
 * @property {number | null} head    null for all heads, aggregated
 * @property {string} aggregation    "mean", "max" or "mean_over_std"; without effect if a head is chosen
 * @property {Query | null} query    null is what the classifier reads
 * @property {string} source         the name of a source of the capsule
 * @property {number | null} target  number of the class; null is the predicted one
 * @property {string} sinks          "show", "outline", "leave_out" or "mark"
 */

/**
 * @typedef {Object} LookSettings   How it is drawn: the fields that `ViewSettings` adds.
 * @property {boolean} bilinear
 * @property {boolean} median
 * @property {boolean} gaussian
 * @property {string} scale     "map", "shared" or "robust"
 * @property {number} opacity   0..1
 * @property {string} cmap
 * @property {string} on        "view", the pixels that the model saw, or "original", the whole photo
 * @property {string} blend     "even" or "glow"
 */

/** @typedef {MapSettings & LookSettings} Settings */

/** @type {MapSettings} */
const MAP_DEFAULTS = {
  layer: -1,
  head: null,
  aggregation: "mean",
  query: null,
  source: "attention",
  target: null,
  sinks: "show",
};

/** @type {Settings} The paper's map of the last layer. */
export const DEFAULTS = {
  ...MAP_DEFAULTS,
  bilinear: true,
  median: true,
  gaussian: true,
  scale: "map",
  opacity: 0.5,
  cmap: "inferno",
  on: "view",
  blend: "even",
};

/** The settings that choose a map; all others define how it is drawn. */
export const MAP_FIELDS = /** @type {(keyof MapSettings)[]} */ (Object.keys(MAP_DEFAULTS));

/** The names of all settings of a view, those of the map first. */
export const VIEW_FIELDS = /** @type {(keyof Settings)[]} */ (Object.keys(DEFAULTS));

/** The settings that all panels of a row share, so that they can be compared. */
export const LOOK = VIEW_FIELDS.filter((name) => !(name in MAP_DEFAULTS) && name !== "scale");

/** @type {Partial<Record<keyof Settings, string[]>>} */
const CHOICES = {
  aggregation: AGGREGATIONS,
  sinks: ["show", "outline", "leave_out", "mark"],
  scale: ["map", "shared", "robust"],
  on: ["view", "original"],
  blend: ["even", "glow"],
};

/**
 * Check settings that have a fixed set of values; what a capsule has is checked by `resolve`.
 *
 * @param {Settings} settings
 * @throws {SettingsError} names the first setting with another value
 */
export function requireChoices(settings) {
  for (const [name, possible] of Object.entries(CHOICES)) {
    const value = settings[/** @type {keyof Settings} */ (name)];
    if (!possible.includes(/** @type {string} */ (value))) {
      throw new SettingsError(`${name} ${quoted(value)} does not exist; possible: ${possible.join(", ")}`);
    }
  }
  if (!(settings.opacity >= 0 && settings.opacity <= 1)) {
    throw new SettingsError(`opacity must lie in 0..1, got ${quoted(settings.opacity)}`);
  }
}
