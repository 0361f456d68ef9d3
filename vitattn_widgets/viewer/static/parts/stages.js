// @ts-check
// The stages of a model: runs of layers with one grid of queries and one number of heads.

import { element } from "./dom.js";

/** @typedef {import("../engine/capsule.js").LayerFacts} LayerFacts */
/** @typedef {{first: number, count: number, grid: [number, number], heads: number}} Stage   `first` is a layer's number */

const MOST = 6; // of more, where grids alternate, the words would take the room of the cells
const GAP = 8; // between stages, in pixels, beside that between cells
const WORD = " patches";
const FULL = 100; // width of "56 x 56 patches"
const SHORT = 42; // and of "56 x 56"

/**
 * @param {LayerFacts[]} layers
 * @returns {Stage[]} one for a flat model, or where there would be too many
 */
export function stagesOf(layers) {
  /** @type {Stage[]} */
  const stages = [];
  layers.forEach(({ query_grid: grid, heads }, layer) => {
    const last = stages.at(-1);
    if (last && last.heads === heads && String(last.grid) === String(grid)) last.count += 1;
    else stages.push({ first: layer, count: 1, grid, heads });
  });
  const staged = layers.some((layer) => layer.staged) && stages.length <= MOST;
  return staged ? stages : [{ ...stages[0], count: layers.length }];
}

/**
 * The number of the stage of a layer.
 * @param {Stage[]} stages
 * @param {number} layer
 */
export function stageOf(stages, layer) {
  return stages.findIndex(({ first, count }) => layer < first + count);
}

/** @param {Stage} stage @returns {[string, string]} its patches and its heads, in words */
function stageWords({ grid: [rows, cols], heads }) {
  return [`${rows} x ${cols} patches`, heads === 1 ? "1 head" : `${heads} heads`];
}

/**
 * The grid and the heads of a layer's stage, in words; "" if all layers are one stage.
 * @param {Stage[]} stages
 * @param {number} layer
 */
export function stageNote(stages, layer) {
  if (stages.length < 2) return "";
  const stage = stages[stageOf(stages, layer)];
  const last = stage.first + stage.count - 1;
  const several = `Layers ${stage.first} ${stage.count > 2 ? "to" : "and"} ${last} have`;
  return `${stage.count > 1 ? several : `Layer ${last} has`} ${stageWords(stage).join(" and ")}.`;
}

/**
 * Headers above the columns of the stages, in a grid of a gutter, the layers, and a column between two stages.
 * @param {Stage[]} stages
 */
export function headsOf(stages) {
  return stages.map((stage, index) => {
    const [patches, heads] = stageWords(stage);
    const [short, word] = [patches.slice(0, -WORD.length), element("span", {}, WORD)];
    const head = element(
      "span",
      { role: "columnheader", title: `${patches}, ${heads}` },
      element("span", {}, short, word),
      element("span", {}, heads),
    );
    head.setAttribute("aria-colspan", String(stage.count));
    head.style.gridColumn = `${2 + stage.first + index} / span ${stage.count}`;
    return head;
  });
}

/**
 * The gaps between stages, wide enough for their words.
 * @param {Stage[]} stages
 * @param {number} step   from column to column, in pixels
 * @returns {number[]} after each stage but the last
 */
export function gapsOf(stages, step) {
  return stages.slice(0, -1).map(({ count }) => Math.max(GAP, SHORT + GAP - count * step));
}

/**
 * Leave out the words that have no room.
 * @param {HTMLElement[]} heads   of `headsOf`
 * @param {Stage[]} stages
 * @param {number} step   from column to column, in pixels
 */
export function fitHeads(heads, stages, step) {
  heads.forEach((head, index) => {
    head.classList.toggle("va-short", stages[index].count * step < FULL);
  });
}
