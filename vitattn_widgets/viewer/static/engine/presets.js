// @ts-check
// Rows of panels that one click fills, such as "all sources" or "layers": settings in, settings out.

import { SettingsError } from "./errors.js";
import { roundEven } from "./numbers.js";
import { fitSettings, sourceAggregations } from "./resolve.js";

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./settings.js").Settings} Settings */

/**
 * @typedef {Object} Preset   A row of panels that one click fills.
 * @property {string} title   its name in menus
 * @property {string} words   what the panels are, in a few words
 * @property {(capsule: Capsule, settings: Settings) => Settings[]} panels   at least two, each fitted to the capsule;
 *   if there are fewer, a SettingsError says why
 */

/** Largest number of layers that the preset of layers shows. */
const MAX_LAYERS = 6;

/** @type {Record<string, Preset>} The presets by name. */
export const PRESETS = {
  sources: {
    title: "all sources",
    words: "one panel per source with the same layer: those with signs, or those without",
    panels: allSources,
  },
  layers: {
    title: "layers",
    words: `up to ${MAX_LAYERS} layers, evenly from the first to the last`,
    panels: evenLayers,
  },
  heads: { title: "heads", words: "every head of this layer", panels: everyHead },
  aggregations: {
    title: "aggregations",
    words: "every aggregation of this layer's heads",
    panels: allAggregations,
  },
};

/**
 * One panel for each source that is available, of contributions or of the others: the two have scales of their own.
 *
 * @param {Capsule} capsule
 * @param {Settings} settings
 * @returns {Settings[]}
 */
function allSources(capsule, settings) {
  const { signed } = capsule.source(settings.source);
  const alike = capsule.facts.sources.filter((source) => !source.unavailable && source.signed === signed);
  const names = alike.map((source) => source.name);
  return several(capsule, settings, "source", names, "the model has a single source");
}

/** @param {Capsule} capsule @param {Settings} settings @returns {Settings[]} evenly spaced layers, first to last */
function evenLayers(capsule, settings) {
  const last = capsule.numLayers - 1;
  const count = Math.min(MAX_LAYERS, last + 1);
  const layers = Array.from({ length: count }, (_, place) => roundEven((place * last) / Math.max(1, count - 1)));
  return several(capsule, settings, "layer", layers, "the model has a single layer");
}

/** @param {Capsule} capsule @param {Settings} settings @returns {Settings[]} one for each head of the layer */
function everyHead(capsule, settings) {
  const { no_head } = capsule.source(settings.source);
  const heads = no_head ? 0 : capsule.layer(settings.layer).heads;
  const why = no_head || "the layer has a single head";
  return several(capsule, settings, "head", [...Array(heads).keys()], why);
}

/** @param {Capsule} capsule @param {Settings} settings @returns {Settings[]} one for each aggregation of the source */
function allAggregations(capsule, settings) {
  // every aggregation of a single head is that head
  const single = capsule.layer(settings.layer).heads === 1;
  const possible = single ? [] : sourceAggregations(capsule, settings.source, settings.layer);
  const why = capsule.source(settings.source).no_aggregation || "the layer has a single head";
  return several(capsule, { ...settings, head: null }, "aggregation", possible, why);
}

/**
 * Settings with each of some values, fitted to the capsule, in order and without duplicates.
 *
 * @param {Capsule} capsule
 * @param {Settings} settings
 * @param {keyof Settings} name
 * @param {(string | number)[]} values
 * @param {string} why there are fewer than two
 * @returns {Settings[]}
 */
function several(capsule, settings, name, values, why) {
  const panels = values.map((value) => fitSettings({ ...settings, [name]: value }, capsule));
  const distinct = [...new Map(panels.map((panel) => [JSON.stringify(panel), panel])).values()];
  if (distinct.length < 2) throw new SettingsError(`there is nothing to compare here: ${why}`);
  return distinct;
}
