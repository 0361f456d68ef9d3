// The engine's side of the twin test: draws and says what Python drew and said. Everything is fetched from the test.

import { missing } from "../../vitattn_widgets/viewer/static/engine/attribution.js";
import { Capsule } from "../../vitattn_widgets/viewer/static/engine/capsule.js";
import { compareViews, differenceView } from "../../vitattn_widgets/viewer/static/engine/compare.js";
import { PRESETS } from "../../vitattn_widgets/viewer/static/engine/presets.js";
import { reach } from "../../vitattn_widgets/viewer/static/engine/partitions.js";
import { pythonCode } from "../../vitattn_widgets/viewer/static/engine/recipe.js";
import { drawView, prepareView } from "../../vitattn_widgets/viewer/static/engine/render.js";
import { fitSettings } from "../../vitattn_widgets/viewer/static/engine/resolve.js";
import { contour } from "../../vitattn_widgets/viewer/static/parts/contour.js";

/** Requests that one map may take: queries and keys or a row or maps, and colours. */
const MOST_REQUESTS = 2;

const subjects = new Map();

async function bytesOf(address) {
  return new Uint8Array(await (await fetch(address)).arrayBuffer());
}

async function subjectOf(key) {
  if (!subjects.has(key)) {
    subjects.set(key, new Capsule((await bytesOf(`/capsule/${key}`)).buffer));
  }
  return subjects.get(key);
}

async function completeSubject(key, settings) {
  const capsule = await subjectOf(key);
  const needs = [];
  for (let request = missing(capsule, settings); request; request = missing(capsule, settings)) {
    if (needs.push(request.need) > MOST_REQUESTS) throw new Error(`asked again: ${JSON.stringify(request)}`);
    const answer = await fetch(`/answer/${key}`, { method: "POST", body: JSON.stringify(request) });
    capsule.add(await answer.arrayBuffer());
  }
  return { capsule, needs };
}

function asText(numbers) {
  const all = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  let text = "";
  for (let at = 0; at < all.length; at += 0x8000) text += String.fromCharCode(...all.subarray(at, at + 0x8000));
  return btoa(text);
}

async function drawOne(key, settings) {
  const { capsule, needs } = await completeSubject(key, settings);
  const prepared = prepareView(capsule, settings);
  const { heat, limits, colors } = drawView(capsule, settings, prepared);
  return {
    caption: prepared.caption,
    sentence: prepared.sentence,
    code: ["overlay", "map", "side by side"].map((arrangement) => pythonCode(capsule, settings, arrangement)),
    needs,
    limits,
    heat: asText(heat),
    layer: asText(colors),
  };
}

function drawAll(key, all) {
  return Promise.all(all.map((settings) => drawOne(key, settings)));
}

async function panelOf([key, settings, name]) {
  const { capsule } = await completeSubject(key, settings);
  return { capsule, settings, name };
}

async function compareAll(panels, scale) {
  const all = await Promise.all(panels.map(panelOf));
  const { views, titles, common, limits } = compareViews(all, scale);
  return { layers: views.map(({ colors }) => asText(colors)), titles, common, limits };
}

async function subtract(panels, scale) {
  const [first, second] = await Promise.all(panels.map(panelOf));
  const { title, caption, limits, heat, where, ground, colors, gridMap } = differenceView(first, second, scale);
  return {
    title,
    caption,
    limits,
    where,
    ground,
    heat: asText(heat),
    layer: asText(colors),
    grid: gridMap && asText(gridMap),
  };
}

async function fitAll(key, all, chosen) {
  const capsule = await subjectOf(key);
  return all.map((settings) => fitSettings(settings, capsule, chosen));
}

async function presetsOf(key, settings) {
  const capsule = await subjectOf(key);
  return Object.entries(PRESETS).map(([name, { title, words, panels }]) => {
    try {
      return [name, title, words, panels(capsule, settings)];
    } catch (error) {
      return [name, title, words, error.message];
    }
  });
}

/** What each patch of a layer reaches, as the numbers of the cells; null where it is everything. */
async function reached(key, layer) {
  const capsule = await subjectOf(key);
  const [rows, cols] = capsule.facts.layers[layer].query_grid;
  return Array.from({ length: rows * cols }, (_, patch) => {
    const cells = reach(capsule, layer, [Math.floor(patch / cols), patch % cols]);
    return cells && Array.from(cells.keys()).filter((cell) => cells[cell]);
  });
}

function outline(cells, grid) {
  return contour(Uint8Array.from(cells), grid);
}

/** The pixels of the capsule's view, as Chromium decodes them. */
async function viewPixels(key) {
  const capsule = await subjectOf(key);
  const { view_type: type, view_size: size } = capsule.facts.picture;
  const picture = await createImageBitmap(new Blob([capsule.tensor("view").data], { type }));
  const surface = new OffscreenCanvas(...size).getContext("2d");
  surface.drawImage(picture, 0, 0);
  return asText(surface.getImageData(0, 0, ...size).data);
}

globalThis.twin = { drawAll, compareAll, subtract, fitAll, presetsOf, reached, viewPixels, outline };
