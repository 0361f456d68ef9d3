// @ts-check
// The raw maps of every source, one value per patch, and what a capsule lacks for them.

import { aggregateHeads } from "./aggregate.js";
import { attentionRow, rowName } from "./attention.js";
import { sum32 } from "./numbers.js";
import { splitPrefix } from "./patch_attention.js";
import { resolve } from "./resolve.js";
import { LEFT_OUT, leaveOut } from "./sinks.js";
import { queryText } from "./tokens.js";

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./resolve.js").ResolvedMap} ResolvedMap */
/** @typedef {import("./settings.js").MapSettings} MapSettings */
/** @typedef {import("./tokens.js").Query} Query */

/**
 * @typedef {{patches: number, prefix: number, logit: number, rest: number}} LogitParts   How a logit is divided: what
 *   lies on patches, what on prefix tokens, the whole, and what is left.
 */

/**
 * @typedef {Object} SourceMaps
 * @property {Float32Array} maps         (heads, patches)
 * @property {Float32Array} prefixShare  (heads,)
 * @property {LogitParts | null} parts   of contributions alone
 */

/**
 * @typedef {Object} RawMap   The map that settings choose, before smoothing, and what it was computed from.
 * @property {ResolvedMap} resolved
 * @property {Float32Array} heads        (heads, patches), the source's maps; without the sinks if these are left out
 * @property {Float32Array} prefixShare  (heads,) in 0..1, the share of the prefix tokens, which the maps leave out
 * @property {LogitParts | null} parts   of contributions, how the logit is divided
 * @property {Float32Array} gridMap      (patches,), row first
 * @property {Float32Array} withSinks    `gridMap` before sinks were left out
 * @property {number} share              the prefix share of the map: of its head, or the mean over the heads
 */

/**
 * @typedef {Object} Request   What the host is asked for (`viewer.requests.answer` in Python).
 * @property {"operands" | "row" | "maps" | "colors"} need
 * @property {number} [layer]
 * @property {number[]} [layers]
 * @property {string} [source]
 * @property {string | null} [query]
 * @property {number | null} [target]
 * @property {string | null} [fusion]
 * @property {string} [cmap]
 */

/** Maps kept per capsule and topic, about 3 kB per head each. */
const KEPT_MAPS = 64;

/**
 * The raw map that settings choose.
 *
 * @param {Capsule} capsule
 * @param {MapSettings} settings
 * @returns {RawMap}
 * @throws {SettingsError} a layer, head, query or class that the capsule does not have, or it lacks what `missing` says
 */
export function rawMap(capsule, settings) {
  const resolved = resolve(capsule, settings);
  const { maps, prefixShare, parts } = mapsOf(capsule, resolved);
  const whole = oneMap(maps, resolved);
  const share = resolved.head === null ? mean32(prefixShare) : prefixShare[resolved.head];
  if (!LEFT_OUT.includes(resolved.sinks)) {
    return { resolved, heads: maps, prefixShare, parts, gridMap: whole, withSinks: whole, share };
  }
  // before aggregation: a sink of one head must not decide a maximum or a standard deviation over the heads
  const sinks = capsule.sinks(resolved.layer);
  const heads = resolved.source.signed
    ? maps.map((value, at) => (sinks[at % sinks.length] ? 0 : value)) // points of the logit stay what they are
    : leaveOut(maps, sinks, resolved.source.plain);
  return { resolved, heads, prefixShare, parts, gridMap: oneMap(heads, resolved), withSinks: whole, share };
}

/**
 * The first and the last of the layers that "gradient_late" sums: up to `layer`, a third of the model's, rounded up.
 *
 * @param {Capsule} capsule
 * @param {number} layer from 0 on
 * @returns {[number, number]}
 */
export function lateLayers(capsule, layer) {
  return [Math.max(0, layer + 1 - Math.ceil(capsule.numLayers / 3)), layer];
}

/**
 * What the host must be asked for before the map of these settings can be drawn; null if nothing.
 *
 * @param {Capsule} capsule
 * @param {MapSettings & {cmap?: string}} settings
 * @param {number[]} [layers] more layers whose maps of the same source will be wanted, to be asked for at once
 * @returns {Request | null} ask, add the answer to the capsule, and ask again what is missing
 * @throws {SettingsError} a layer, head, query or class that the capsule does not have
 */
export function missing(capsule, settings, layers = []) {
  const resolved = resolve(capsule, settings);
  const request = computable(capsule, resolved)
    ? missingRow(capsule, resolved)
    : missingMaps(capsule, resolved, layers);
  if (request) return request;
  const { cmap } = settings;
  return cmap !== undefined && !capsule.has(`colors.${cmap}`) ? { need: "colors", cmap } : null;
}

/**
 * Whether the maps follow from attention rows and what else the capsule holds, without a pass through the model.
 *
 * @param {Capsule} capsule
 * @param {ResolvedMap} resolved
 */
function computable(capsule, { source, layer }) {
  return source.plain || (source.name === "norm" && capsule.has(`layer${layer}.value_norms`));
}

/**
 * @param {Capsule} capsule
 * @param {ResolvedMap} resolved
 * @returns {Request | null}
 */
function missingRow(capsule, { layer, query }) {
  if (capsule.has(rowName(layer, query)) || capsule.has(`layer${layer}.q`)) return null;
  if (capsule.facts.layers[layer].operands) return { need: "operands", layer };
  return { need: "row", layer, query: queryText(query) };
}

/**
 * @param {Capsule} capsule
 * @param {ResolvedMap} resolved
 * @param {number[]} layers
 * @returns {Request | null}
 */
function missingMaps(capsule, resolved, layers) {
  if (capsule.has(mapsName(resolved))) return null;
  const { source, target } = resolved;
  const { default_query: own } = capsule.facts.layers[resolved.layer];
  const query = resolved.query === own ? null : queryText(resolved.query);
  return {
    need: "maps",
    source: source.name,
    // another query may not exist in the other layers
    layers: query === null ? [...new Set([resolved.layer, ...layers])] : [resolved.layer],
    query,
    target,
    fusion: fusionOf(resolved),
  };
}

/** @param {ResolvedMap} resolved @returns {string | null} how the source fuses heads; null if it does not */
function fusionOf({ source, aggregation }) {
  return source.fuses_heads ? aggregation : null;
}

/** @param {ResolvedMap} resolved @returns {string} the name of the tensor with the maps */
function mapsName(resolved) {
  const { source, layer, query, target } = resolved;
  return `maps/${source.name}/${layer}/${queryText(query)}/${target ?? "-"}/${fusionOf(resolved) ?? "-"}`;
}

/**
 * @param {Capsule} capsule
 * @param {ResolvedMap} resolved
 * @returns {SourceMaps}
 */
function mapsOf(capsule, resolved) {
  const { layer, query, heads, source } = resolved;
  const name = mapsName(resolved);
  if (!computable(capsule, resolved)) {
    const parts = source.signed ? partsOf(capsule.floats(`${name}/parts`)) : null;
    return { maps: capsule.floats(name), prefixShare: capsule.floats(`${name}/share`), parts };
  }
  return capsule.remembered("maps", name, KEPT_MAPS, () => {
    const row = attentionRow(capsule, layer, query);
    const prefix = row.length / heads - capsule.numPatches(layer);
    const split = source.plain
      ? splitPrefix(row, heads, prefix)
      : splitRows(normRows(row, capsule.floats(`layer${layer}.value_norms`)), heads, prefix);
    return { ...split, parts: null };
  });
}

/** @param {Float32Array} parts @returns {LogitParts} */
function partsOf([patches, prefix, logit]) {
  return { patches, prefix, logit, rest: logit - patches - prefix };
}

/**
 * Each head's attention times the length of its projected values (Kobayashi et al. 2020, eq. 5, head by head).
 *
 * @param {Float32Array} row (heads, keys)
 * @param {Float32Array} norms (heads, keys)
 * @returns {Float64Array} (heads, keys)
 */
function normRows(row, norms) {
  return Float64Array.from(row, (value, place) => Math.abs(value) * norms[place]);
}

/**
 * Remove the prefix tokens and divide all heads by the same number, so that they keep their weights.
 *
 * @param {Float64Array} rows (heads, keys), never negative
 * @param {number} heads
 * @param {number} prefix number of prefix keys
 * @returns {{maps: Float32Array, prefixShare: Float32Array}}
 */
function splitRows(rows, heads, prefix) {
  const keys = rows.length / heads;
  const patches = keys - prefix;
  const prefixShare = new Float32Array(heads);
  let total = 0;
  for (let head = 0; head < heads; head++) {
    let before = 0;
    let left = 0;
    for (let key = 0; key < keys; key++) {
      if (key < prefix) before += rows[head * keys + key];
      else left += rows[head * keys + key];
    }
    const whole = before + left;
    prefixShare[head] = Math.min(1, Math.max(0, 1 - (whole > 0 ? left / whole : 1)));
    total += left;
  }
  const mean = total / heads;
  const maps = new Float32Array(heads * patches);
  for (let at = 0; mean > 0 && at < maps.length; at++) {
    maps[at] = rows[Math.floor(at / patches) * keys + prefix + (at % patches)] / mean;
  }
  return { maps, prefixShare };
}

/**
 * @param {Float32Array} maps (heads, patches)
 * @param {ResolvedMap} resolved
 * @returns {Float32Array} (patches,)
 */
function oneMap(maps, { source, head, heads, aggregation }) {
  if (source.no_head) return maps;
  if (head === null) return aggregateHeads(maps, heads, aggregation);
  const patches = maps.length / heads;
  return maps.subarray(head * patches, (head + 1) * patches);
}

/** @param {Float32Array} values @returns {number} their mean in single precision, as NumPy computes it */
function mean32(values) {
  return Math.fround(sum32(values) / values.length);
}
