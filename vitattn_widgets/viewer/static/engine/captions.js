// @ts-check
// Captions: what a picture shows, in words, and the unit of its values.

import { lateLayers, rawMap } from "./attribution.js";
import { fixed, percent } from "./formats.js";
import { countSinks, LEFT_OUT, OUTLINED, shareOf } from "./sinks.js";
import { queryWords } from "./tokens.js";

/** @typedef {import("./attribution.js").RawMap} RawMap */
/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./resolve.js").ResolvedMap} ResolvedMap */
/** @typedef {import("./settings.js").MapSettings} MapSettings */

/**
 * One line that says what a picture shows: model, layer, source and class, head or formula, query, omissions.
 *
 * @param {Capsule} capsule
 * @param {MapSettings} settings
 * @returns {string}
 * @throws {SettingsError} as `rawMap` does
 */
export function caption(capsule, settings) {
  const raw = rawMap(capsule, settings);
  return captionOf(capsule, raw, capsule.sinks(raw.resolved.layer));
}

/**
 * `caption` for callers that already hold the raw map and the sinks of its layer.
 *
 * @param {Capsule} capsule
 * @param {RawMap} raw
 * @param {Uint8Array} sinks
 * @returns {string}
 */
export function captionOf(capsule, raw, sinks) {
  const { model, layers, words } = capsule.facts;
  const { layer, head, heads, aggregation, source } = raw.resolved;
  const parts = [model.name, layers[layer].words, ...sourceWords(capsule, raw.resolved)];
  if (head !== null) parts.push(`head ${head} of 0..${heads - 1}`);
  else if (!source.no_head) parts.push(heads > 1 ? fillIn(words.formulas[aggregation], { heads }) : ONE_HEAD);
  if (!source.no_query) parts.push(queryPart(capsule, raw.resolved));
  const { windows, padding } = layers[layer];
  if (windows) parts.push(`attention inside ${windows}`);
  const lost = `${percent(raw.share, 1)} of this ${source.title}`;
  if (raw.parts) parts.push(logitPart(capsule, raw.parts, raw.resolved));
  else if (hasPrefix(capsule, raw.resolved)) parts.push(`${lost} went to prefix tokens and is left out`);
  else if (raw.share > NOTHING && padding) parts.push(`${lost} went to padding beyond the edges and is left out`);
  if (countSinks(sinks)) parts.push(sinksPart(raw, sinks));
  return parts.join(", ");
}

/** Share of the attention up to which a caption does not mention padding: windows inside the grid hold none. */
const NOTHING = 0.0005;

/**
 * Whether a map leaves out prefix tokens: of its own layer, or of the model if it is computed from several.
 *
 * @param {Capsule} capsule
 * @param {ResolvedMap} resolved
 */
function hasPrefix(capsule, { source, layer }) {
  const { model, layers } = capsule.facts;
  if (source.span === "layer") return layers[layer].key_prefix.length > 0;
  if (!layers[layer].staged) return model.prefix.length > 0;
  const first = source.span === "late layers" ? lateLayers(capsule, layer)[0] : 0;
  return layers.slice(first, layer + 1).some((one) => one.key_prefix.length);
}

/**
 * What the map is computed from; empty for plain attention.
 *
 * @param {Capsule} capsule
 * @param {ResolvedMap} resolved
 */
function sourceWords(capsule, { source, layer, aggregation, target }) {
  if (source.plain) return [];
  let description = source.words;
  if (source.span === "late layers") {
    description += `, summed over layers ${lateLayers(capsule, layer)[0]}..${layer}`;
  } else if (source.span === "first to layer") {
    description += " from layer 0 up to this one";
  }
  if (source.fuses_heads) description += `, heads fused by ${aggregation}`;
  return [`${description} (${source.reference})`, ...(source.no_class ? [] : [classWords(capsule, target)])];
}

/** @param {Capsule} capsule @param {number | null} target */
function classWords(capsule, target) {
  if (target === null) return `for ${capsule.answerWords(target)} (this model has no classifier)`;
  if (capsule.isDirection(target)) {
    const { cosine } = capsule.facts.model.directions[target - capsule.facts.model.classes.length];
    return `for the ${capsule.answerWords(target)} (cosine ${fixed(cosine, 2)})`;
  }
  const predicted = target === capsule.classOrPredicted() ? ", the prediction" : "";
  const probability = percent(capsule.floats("probabilities")[target], 1);
  return `for the class ${capsule.facts.model.classes[target]} (${probability}${predicted})`;
}

/** @param {RawMap} raw @param {Uint8Array} sinks */
function sinksPart({ resolved, withSinks }, sinks) {
  const count = countSinks(sinks);
  const many = count > 1;
  const share = shareWords(shareOf(withSinks, sinks));
  const outlined = OUTLINED.includes(resolved.sinks) ? " (outlined)" : "";
  const patches = `${count} sink ${many ? "patches" : "patch"}${outlined}`;
  if (LEFT_OUT.includes(resolved.sinks)) return `${patches} with ${share} of the map ${many ? "are" : "is"} left out`;
  return `${patches} ${many ? "hold" : "holds"} ${share} of the map`;
}

/** @param {number} share 0..1 @returns {string} a whole percentage; below half of one "less than 1%" */
export function shareWords(share) {
  return share > 0 && share < 0.005 ? "less than 1%" : percent(share, 0);
}

/** @typedef {import("./attribution.js").LogitParts} LogitParts */

/**
 * How the logit is divided: what a map of contributions shows of it, and what it leaves out.
 *
 * @param {Capsule} capsule
 * @param {LogitParts} parts
 * @param {ResolvedMap} resolved
 */
function logitPart(capsule, { patches, prefix, logit, rest }, { source, layer }) {
  const padded = capsule.facts.layers[layer].padding > 0 && !source.no_head; // no padding enters a block
  const others = capsule.facts.model.prefix.length ? "prefix tokens" : padded ? "padding" : "";
  const tokens = others ? `, ${fixed(prefix, 2)} on ${others}` : "";
  const where = source.no_head ? "on biases" : "past this attention";
  return `of the logit ${fixed(logit, 2)}, ${fixed(patches, 2)} on patches${tokens}, ${fixed(rest, 2)} ${where}`;
}

/**
 * @param {import("./attribution.js").LogitParts} parts
 * @param {import("./capsule.js").SourceFacts} source
 * @param {string[]} prefix names of the tokens before the patches
 */
function logitSentence({ patches, prefix: others, logit, rest }, source, prefix) {
  if (!source.no_head) {
    return `All heads of this layer bring ${points(patches)} of its score of ${points(logit)} from patches.`;
  }
  const words = prefix.length === 1 && prefix[0] === "class" ? "the class token" : "other tokens";
  const tokens = prefix.length ? `${points(others)} on ${words}, ` : "";
  return `Of its score of ${points(logit)}, ${points(patches)} lies on patches, ${tokens}${points(rest)} on biases.`;
}

/** @param {number} value @returns {string} with one digit, without a sign before zero */
function points(value) {
  const text = fixed(value, 1);
  return text === "-0.0" ? "0.0" : text.replace("-", "−");
}

/** @param {Capsule} capsule @param {ResolvedMap} resolved */
function queryPart(capsule, { query, layer }) {
  const { read, grid } = capsule.facts.model;
  const names = capsule.facts.words.queries;
  const { staged, query_grid: own } = capsule.facts.layers[layer];
  const patches = staged && (query === "mean" || typeof query !== "string") ? ` of ${own[0]} x ${own[1]}` : "";
  const words = `query: ${queryWords(query, names)}${patches}`;
  if (!read.length) return `${words} (this model has no classifier)`;
  if (String(own) !== String(grid)) {
    const all = read.map((name) => queryWords(name, names)).join(" and the ");
    return `${words} (the classifier reads the ${all} of the last layer, on ${grid[0]} x ${grid[1]} patches)`;
  }
  if (typeof query === "string" && query.split("+").every((part) => read.includes(part))) {
    return `${words}, which the classifier reads${layer === capsule.numLayers - 1 ? "" : " after the last layer"}`;
  }
  return `${words} (the classifier reads the ${read.map((name) => queryWords(name, names)).join(" and the ")} instead)`;
}

/** Numbers of sinks as a sentence writes them; larger ones are digits. */
const COUNT_WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/** Share of the attention below which a sentence says how much of it reaches patches. */
const LITTLE = 0.5;

const ONE_HEAD = "its only head";

/** The aggregations as a sentence names them. */
const HEADS = /** @type {Record<string, string>} */ ({
  mean: "average of {heads} heads",
  max: "strongest of {heads} heads",
  mean_over_std: "mean / std of {heads} heads",
});

/**
 * What a picture shows, for a person: layer and heads, who looked where, and how much of it went elsewhere.
 *
 * @param {Capsule} capsule
 * @param {MapSettings} settings
 * @returns {string}
 * @throws {SettingsError} as `rawMap` does
 */
export function sentence(capsule, settings) {
  const raw = rawMap(capsule, settings);
  return sentenceOf(capsule, raw, capsule.sinks(raw.resolved.layer));
}

/**
 * `sentence` for callers that already hold the raw map and the sinks of its layer.
 *
 * @param {Capsule} capsule
 * @param {RawMap} raw
 * @param {Uint8Array} sinks
 * @returns {string}
 */
export function sentenceOf(capsule, raw, sinks) {
  const { layer, head, heads, aggregation, source } = raw.resolved;
  const place = [layerPlace(capsule, layer, source.span)];
  if (head !== null) place.push(`head ${head}`);
  else if (!source.no_head) place.push(heads > 1 ? fillIn(HEADS[aggregation], { heads }) : ONE_HEAD);
  const target = source.no_class ? "" : capsule.answerWords(raw.resolved.target);
  const query = queryWords(raw.resolved.query, capsule.facts.words.queries);
  let text = `${place.join(", ")}: ${fillIn(source.sentence, { query, target })}.`;
  const { windows } = capsule.facts.layers[layer];
  if (windows) text += ` Attention stays inside ${windows}.`;
  if (raw.parts) text += ` ${logitSentence(raw.parts, source, capsule.facts.model.prefix)}`;
  else if (raw.share > LITTLE) text += ` Only ${percent(1 - raw.share, 0)} of it reaches patches.`;
  const count = countSinks(sinks);
  if (count) {
    const patches = `${COUNT_WORDS[count] ?? count} sink ${count > 1 ? "patches" : "patch"}`;
    const { sinks: treatment } = raw.resolved;
    const treated = treatment === "mark" ? ", set apart" : LEFT_OUT.includes(treatment) ? ", left out here" : "";
    const share = shareWords(shareOf(raw.withSinks, sinks));
    text += ` ${share[0].toUpperCase()}${share.slice(1)} ${source.signed ? "lies on" : "goes to"} ${patches}${treated}.`;
  }
  return text;
}

/** @param {Capsule} capsule @param {number} layer from 0 on @param {string} span */
function layerPlace(capsule, layer, span) {
  const last = capsule.numLayers - 1;
  const first = span === "late layers" ? lateLayers(capsule, layer)[0] : layer;
  if (first < layer) return `Layers ${first} to ${layer}`;
  if (layer === last) return "Last layer";
  return layer === 0 ? "First layer" : `Layer ${layer} of 0 to ${last}`;
}

/**
 * A text with values for its fields.
 *
 * @param {string} text "mean over {heads} heads"
 * @param {Record<string, string | number>} values by field
 * @returns {string}
 */
export function fillIn(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, field) => String(values[field]));
}
