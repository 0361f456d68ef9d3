// @ts-check
// The offline page: its capsule lies in the page itself, and nothing is asked of anybody.

import { mount } from "../../viewer/static/viewer.js";

/** @typedef {import("../../viewer/static/parts/types.js").Host} Host */
/** @typedef {import("../../viewer/static/parts/types.js").Library} Library */
/** @typedef {import("../../viewer/static/parts/types.js").State} State */
/** @typedef {{start: State, library: Library, choices: Record<string, unknown[]>}} PageFacts   Written by `document.py`. */
/** @typedef {{need: string, layer?: number, query?: string, source?: string, target?: number, cmap?: string}} Request */

const WITHOUT = "not in this file";
const REMEMBER_MS = 300; // browsers refuse to rewrite the address many times a second

/** @param {unknown} value */
const isSwitch = (value) => typeof value === "boolean";
/** @param {unknown} value */
const isNumber = (value) => Number.isInteger(value);
/** @param {unknown} value */
const isNumberOrNull = (value) => value === null || isNumber(value);
/** @param {unknown} value */
const isQuery = (value) =>
  value === null || typeof value === "string" || (Array.isArray(value) && value.length === 2 && value.every(isNumber));

/**
 * Settings without a list of choices, and what their values are like.
 * @type {Record<string, (value: any) => boolean>}
 */
const CHECKS = {
  layer: isNumber,
  head: isNumberOrNull,
  query: isQuery,
  target: isNumberOrNull,
  bilinear: isSwitch,
  median: isSwitch,
  gaussian: isSwitch,
  opacity: (value) => value >= 0 && value <= 1,
};

/** @param {string} id */
const textOf = (id) => document.getElementById(id)?.textContent ?? "";

/** The digits of base 85, as `base64.b85encode` has them, but for the comma: a `<` could end the page's element. */
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";

/**
 * @param {string} text   five digits for each four bytes
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytesOf(text) {
  const values = new Uint8Array(128);
  for (let value = 0; value < DIGITS.length; value += 1) values[DIGITS.charCodeAt(value)] = value;
  const words = new DataView(new ArrayBuffer(4 * Math.ceil(text.length / 5)));
  for (let word = 0; 5 * word < text.length; word += 1) {
    let number = 0;
    for (let digit = 5 * word; digit < 5 * word + 5; digit += 1) {
      // digits that are missing at the end are the largest one
      number = 85 * number + (digit < text.length ? values[text.charCodeAt(digit)] : DIGITS.length - 1);
    }
    words.setUint32(4 * word, number);
  }
  return new Uint8Array(words.buffer, 0, Math.floor((4 * text.length) / 5));
}

/**
 * The capsule: a compressed safetensors file.
 *
 * @returns {Promise<ArrayBuffer>}
 */
async function readCapsule() {
  const content = new Blob([bytesOf(textOf("va-capsule"))]);
  return new Response(content.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/**
 * What the page's address says about the settings. Anybody may have written it, so what does not exist is ignored.
 *
 * @param {PageFacts} facts
 * @returns {Partial<State>}
 */
function settingsOfAddress({ choices }) {
  const checks = new Map(Object.entries(CHECKS));
  for (const [name, values] of Object.entries(choices)) checks.set(name, (value) => values.includes(value));
  const found = [...new URLSearchParams(location.hash.slice(1))].map(([name, text]) => [name, parsed(text)]);
  return Object.fromEntries(found.filter(([name, value]) => checks.get(name)?.(value)));
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text; // names are written without quotation marks
  }
}

/**
 * The address of the page with the settings that differ from those it starts with.
 *
 * @param {PageFacts} facts
 * @param {Partial<State>} state
 */
function addressOf({ start, choices }, state) {
  const parts = new URLSearchParams();
  for (const name of [...Object.keys(CHECKS), ...Object.keys(choices)]) {
    const [first, now] = [start, state].map((one) => /** @type {Record<string, unknown>} */ (one)[name]);
    const text = JSON.stringify(now);
    if (text !== JSON.stringify(first)) parts.set(name, typeof now === "string" ? now : text);
  }
  return `${location.href.split("#")[0]}#${parts}`;
}

/** @param {Request} request @returns {string} what a viewer asked for, in words */
function wantedWords({ need, layer, query, source, target, cmap }) {
  if (need === "operands") return `the queries and keys of layer ${layer}, which other patches' maps are computed from`;
  if (need === "row") return `the attention of query ${query} in layer ${layer}`;
  if (need === "colors") return `the colour map ${cmap}`;
  if (need === "answers") return `the answers after each layer for class number ${target}`;
  if (need === "direct" || need === "silenced") return `each head's part in class number ${target}`;
  const of = [query && ` of query ${query}`, target !== null && target !== undefined && ` for class number ${target}`];
  return `the maps of the source ${source}${of.filter(Boolean).join("")}`;
}

/**
 * @param {PageFacts} facts
 * @returns {Host}
 */
function fileHost(facts) {
  let state = { ...facts.start, ...settingsOfAddress(facts) };
  let remembering = 0;
  return {
    without: WITHOUT,
    closed: true,
    read: () => state,
    write(changes) {
      state = { ...state, ...changes };
      clearTimeout(remembering);
      remembering = setTimeout(() => history.replaceState(null, "", addressOf(facts, state)), REMEMBER_MS);
    },
    subscribe(listener) {
      const recall = () => {
        const changes = { ...facts.start, ...settingsOfAddress(facts) };
        state = { ...state, ...changes };
        listener(changes);
      };
      addEventListener("hashchange", recall);
      return () => removeEventListener("hashchange", recall);
    },
    library: () => facts.library,
    onLibrary: () => () => {},
    capsule: () =>
      readCapsule().catch((error) => {
        giveUp(error);
        throw error;
      }),
    more: async (_model, _picture, request) => {
      throw new Error(`${WITHOUT}: ${wantedWords(/** @type {Request} */ (request))}`);
    },
    link: (shown) => addressOf(facts, shown),
  };
}

/** @param {unknown} error */
function giveUp(error) {
  const reason = error instanceof Error ? error.message : error;
  const status = document.getElementById("va-status");
  if (status) status.textContent = `This browser cannot run the viewer (${reason}), so the page shows one map alone.`;
}

try {
  const root = document.getElementById("va-viewer");
  if (root) mount(root, fileHost(JSON.parse(textOf("va-page"))));
} catch (error) {
  giveUp(error);
}
