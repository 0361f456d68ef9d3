// @ts-check
// Settings and a capsule: what they mean for it, and how settings made for another one are fitted to it.

import { possibleAggregations } from "./aggregate.js";
import { SettingsError } from "./errors.js";
import { resolveIndex } from "./tokens.js";

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./capsule.js").SourceFacts} SourceFacts */
/** @typedef {import("./settings.js").MapSettings} MapSettings */
/** @typedef {import("./tokens.js").Query} Query */

/**
 * @typedef {Object} ResolvedMap   What settings mean for one capsule, without null and negative numbers.
 * @property {number} layer          from 0 on
 * @property {number} heads          number of heads of that layer
 * @property {number | null} head    null if the heads are aggregated or the source has no single heads
 * @property {string} aggregation
 * @property {Query} query           the default one if the source does not depend on it
 * @property {SourceFacts} source
 * @property {number | null} target  null if the source does not depend on the class, or for the features of a model
 *   without a classifier
 * @property {string} sinks
 */

/**
 * Resolve what settings mean for a capsule.
 *
 * @param {Capsule} capsule
 * @param {MapSettings} settings
 * @returns {ResolvedMap}
 * @throws {SettingsError} a layer, head, query, source or class that this capsule does not have, or an aggregation that
 *   the source does not have
 */
export function resolve(capsule, settings) {
  const layer = capsule.layerIndex(settings.layer);
  const { heads, words } = capsule.facts.layers[layer];
  const source = capsule.source(settings.source);
  if (!exists(capsule, source)) {
    const { name } = capsule.facts.model;
    throw new SettingsError(`the source '${source.name}' does not exist for ${name}: ${source.unavailable}`);
  }
  const head = settings.head === null || source.no_head ? null : resolveIndex(settings.head, heads, "head", words);
  if (settings.head === null && !source.no_head && source.aggregations.length) {
    if (!source.aggregations.includes(settings.aggregation)) {
      throw new SettingsError(
        `the source '${source.name}' has no aggregation '${settings.aggregation}'; possible: ${source.aggregations.join(", ")}`,
      );
    }
  }
  const query = capsule.queryOrDefault(layer, source.no_query ? null : settings.query);
  capsule.queryIndices(layer, query); // throws for a query that this layer does not have
  return {
    layer,
    heads,
    head,
    aggregation: settings.aggregation,
    query,
    source,
    target: source.no_class ? null : capsule.resolveTarget(settings.target),
    sinks: settings.sinks,
  };
}

/**
 * Whether a model has a source: its answer can be divided, or attention followed through as many layers as it takes.
 *
 * @param {Capsule} capsule
 * @param {SourceFacts} source
 */
function exists(capsule, source) {
  if (source.signed) return capsule.facts.model.divisible;
  return source.span !== "first to layer" || capsule.facts.model.followed;
}

/**
 * The name of the source, or of the one that takes its place where the model lacks it.
 *
 * @param {Capsule} capsule
 * @param {SourceFacts} source
 */
function availableSource(capsule, source) {
  if (exists(capsule, source)) return source.name;
  return source.signed ? "gradient_late" : "attention";
}

/**
 * Why a source cannot be shown; empty if it can.
 *
 * @param {Capsule} capsule
 * @param {string} name of the source
 */
export function unavailable(capsule, name) {
  return capsule.source(name).unavailable;
}

/**
 * The aggregations of a source in a layer; empty if it has none.
 *
 * @param {Capsule} capsule
 * @param {string} source
 * @param {number} layer
 */
export function sourceAggregations(capsule, source, layer) {
  const { aggregations } = capsule.source(source);
  return possibleAggregations(capsule.layer(layer).heads).filter((name) => aggregations.includes(name));
}

/**
 * Fit settings to a capsule, as Python's `fit_settings` does.
 *
 * A layer or head beyond the last becomes the last; a patch of another grid becomes the one at the same place in the
 * picture; a query that the layer does not have becomes the layer's default; mean / std becomes the mean where it does
 * not exist; a class becomes the one of the same name, else the predicted one; a source that needs a class becomes
 * plain attention if the model has no classifier.
 *
 * @template {MapSettings} S
 * @param {S} settings
 * @param {Capsule} capsule
 * @param {{asked?: string[], grid?: [number, number] | null, classes?: string[] | null}} [chosen] the settings that the
 *   user has just chosen, which must fit as they are; the grid on which a patch was chosen, and the classes among which
 *   the class was; null is the capsule's own
 * @returns {S} settings that fit, with layer and head as numbers from 0 on
 * @throws {SettingsError} a setting in `asked` does not exist in this capsule
 */
export function fitSettings(settings, capsule, { asked = [], grid = null, classes = null } = {}) {
  const { facts, numLayers } = capsule;
  const last = asked.includes("layer") ? settings.layer : within(settings.layer, numLayers);
  const layer = capsule.layerIndex(last);
  const { heads } = facts.layers[layer];
  let { head, source, aggregation } = settings;
  if (head !== null) {
    const nearest = asked.includes("head") ? head : within(head, heads);
    head = resolveIndex(nearest, heads, "head", `layer ${layer} of ${facts.model.name}`);
  }
  if (!asked.includes("source")) source = availableSource(capsule, capsule.source(source));
  // a source without aggregations leaves the setting for the next source: then only the layer limits it
  const own = sourceAggregations(capsule, source, layer);
  const possible = own.length ? own : possibleAggregations(heads);
  if (!possible.includes(aggregation) && !asked.includes("aggregation")) aggregation = "mean";
  const query = fitQuery(settings.query, capsule, layer, grid, asked.includes("query"));
  const target = fitClass(settings.target, capsule, classes, asked.includes("target"));
  return { ...settings, layer, head, aggregation, query, source, target };
}

/** @param {number} index @param {number} count @returns {number} the nearest number that exists */
function within(index, count) {
  return Math.max(-count, Math.min(index, count - 1));
}

/**
 * @param {number | null} target
 * @param {Capsule} capsule
 * @param {string[] | null} chosenAmong
 * @param {boolean} strict
 */
function fitClass(target, capsule, chosenAmong, strict) {
  if (target === null) return null;
  if (strict) return capsule.resolveTarget(target);
  // matched by name, as numbers differ between models; equal lists keep the number, as names may repeat
  const here = capsule.targetNames;
  const there = chosenAmong ?? here;
  const name = there[target];
  if (name === undefined || !here.includes(name)) return null;
  const equal = here === there || (here.length === there.length && here.every((one, place) => one === there[place]));
  return equal ? target : here.indexOf(name);
}

/**
 * @param {Query | null} query
 * @param {Capsule} capsule
 * @param {number} layer
 * @param {[number, number] | null} grid
 * @param {boolean} strict
 * @returns {Query | null}
 */
function fitQuery(query, capsule, layer, grid, strict) {
  if (query === null) return null;
  const own = capsule.facts.layers[layer].query_grid;
  const moved = grid && typeof query !== "string" && !strict ? samePlace(query, grid, own) : query;
  try {
    capsule.queryIndices(layer, moved);
  } catch (error) {
    if (strict || !(error instanceof SettingsError)) throw error;
    return null;
  }
  return moved;
}

/**
 * The patch of a new grid that contains the centre of an old grid's patch.
 *
 * @param {[number, number]} patch
 * @param {[number, number]} before
 * @param {[number, number]} after
 * @returns {[number, number]}
 */
export function samePlace([row, col], before, after) {
  return [Math.trunc(((row + 0.5) * after[0]) / before[0]), Math.trunc(((col + 0.5) * after[1]) / before[1])];
}
