// @ts-check
// What can be kept of the picture on the screen: figures, numbers, recipe, code, link, and the viewer itself.

import { fileName } from "../engine/encode.js";
import { npzFile } from "../engine/npz.js";
import { pythonCode, recipeOf } from "../engine/recipe.js";
import { colorsOf } from "../engine/render.js";
import { barOf } from "./bars.js";
import { button, element, setText } from "./dom.js";
import { figureOf, pngFile, pngOfFigure, saveFile, svgFile } from "./figure.js";
import { framePatches } from "./frames.js";
import { groundSize, paintGround, paintPicture } from "./paint.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */

const LARGEST = 1400; // longest side of a saved picture in pixels
const TICKS = 5;
const SAID_MS = 2500;

/**
 * The picture as the screen shows it, in the photo's own resolution.
 * @param {Now} now
 * @param {boolean} withQuery   whether the query is framed
 */
function pictureCanvas(now, withQuery) {
  const { capsule, settings, state, prepared, drawn, photo } = now;
  const { on } = settings;
  const [width, height] = groundSize(capsule, on);
  const [left, top, right, bottom] = capsule.facts.picture.crop_box;
  const finest = on === "view" ? Math.max(width / (right - left), height / (bottom - top)) : 1;
  const larger = Math.min(Math.max(1, 1 / finest), LARGEST / Math.max(width, height));
  const twin = state.arrangement === "side by side";
  const one = element("canvas", { width: Math.round(width * larger), height: Math.round(height * larger) });
  paintPicture(one, capsule, photo, on, drawn);
  framePatches(one, capsule, settings, prepared, withQuery);
  if (!twin) return one;
  const both = element("canvas", { width: 2 * one.width, height: one.height });
  const bare = element("canvas", { width: one.width, height: one.height });
  paintGround(/** @type {CanvasRenderingContext2D} */ (bare.getContext("2d")), capsule, photo, on);
  for (const [half, place] of /** @type {const} */ ([
    [bare, 0],
    [one, one.width],
  ]))
    both.getContext("2d")?.drawImage(half, place, 0);
  return both;
}

/** @param {Now} now @returns {number} the raw value of the average patch; 1 for a map of zeros */
function averagePatch({ prepared }) {
  /** @type {Float32Array} */
  const values = prepared.raw.gridMap;
  return values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length || 1;
}

/** @param {Now} now */
function figureNow(now) {
  const { model, picture } = now.capsule.facts;
  const [low, high] = now.drawn.limits;
  const average = averagePatch(now);
  const { source } = now.prepared.raw.resolved;
  const look = { cmap: colorsOf(source, now.settings), blend: source.signed ? "even" : now.settings.blend };
  return figureOf({
    title: `${picture.name || "photo"}, ${model.name}`,
    panels: [{ canvas: pictureCanvas(now, true), title: "" }],
    bars: [barOf(now.capsule, look, [low / average, high / average], "times the average patch", TICKS)],
    lines: [now.prepared.sentence, now.prepared.caption],
  });
}

/** @param {Now} now @returns {Blob} the same arrays that Python's `map_bytes` writes */
function numbersNow({ capsule, prepared, drawn }) {
  const { layers, picture } = capsule.facts;
  const scale = picture.size[0] / picture.photo_size[0];
  const content = npzFile({
    grid_map: { type: "<f4", shape: layers[prepared.raw.resolved.layer].grid, data: prepared.raw.gridMap },
    heat: { type: "<f4", shape: [drawn.height, drawn.width], data: drawn.heat },
    value_range: { type: "<f8", shape: [2], data: Float64Array.from(drawn.limits) },
    crop_box: { type: "<f8", shape: [4], data: Float64Array.from(picture.crop_box, (side) => side * scale) },
    caption: prepared.caption,
  });
  return new Blob([content], { type: "application/octet-stream" });
}

/** @param {Viewer} viewer */
export function keepOf(viewer) {
  const { host } = viewer;
  const said = element("p", { class: "va-hidden", role: "status" });
  const code = element("pre", { tabindex: 0, "aria-label": "Python code that draws this picture" });

  /**
   * Run what a button does, and say on the picture what goes wrong.
   * @param {HTMLButtonElement} pressed
   * @param {(now: Now) => Promise<void> | void} act
   */
  const run = async (pressed, act) => {
    const now = viewer.now();
    if (!now || pressed.getAttribute("aria-busy") === "true") return;
    pressed.setAttribute("aria-busy", "true");
    try {
      await act(now);
    } catch (error) {
      viewer.say({ kind: "error", text: error instanceof Error ? error.message : String(error), lasts: 8000 });
    }
    pressed.removeAttribute("aria-busy");
  };

  /**
   * @param {string} text
   * @param {string} symbol
   * @param {(now: Now) => Promise<void> | void} act
   * @param {string} [reason]   why it cannot be had; "" if it can
   */
  const action = (text, symbol, act, reason = "") => {
    const made = button({ text, icon: symbol, title: reason, onclick: () => !reason && run(made, act) });
    if (reason) made.setAttribute("aria-disabled", "true");
    return made;
  };

  /**
   * @param {string} title
   * @param {string} words
   * @param {HTMLButtonElement[]} actions
   * @param {string} [reason]
   */
  const card = (title, words, actions, reason = "") => {
    for (const one of actions) one.setAttribute("aria-label", `${title}: ${one.textContent}`);
    return element(
      "li",
      { class: `va-keep-card ${reason ? "va-rests" : ""}` },
      element("strong", {}, title),
      element("p", {}, reason || words),
      element("div", { class: "va-line" }, ...actions),
    );
  };

  /** @param {string} suffix */
  const save = (suffix, /** @type {Blob} */ content, /** @type {Now} */ { capsule, settings }) =>
    saveFile(`${fileName(capsule, settings)}${suffix}`, content);

  /** @param {string} what */
  const fromHost = (what) => async (/** @type {Now} */ now) => {
    if (!host.file) return;
    const close = viewer.say({ kind: "progress", text: `Making the ${what} ...` });
    try {
      const { name, mime, content } = await host.file(what, now.state);
      saveFile(name, new Blob([content], { type: mime }));
    } finally {
      close();
    }
  };

  /**
   * Copy a text; without permission to use the clipboard it is selected, ready for Ctrl-C.
   * @param {HTMLButtonElement} pressed
   * @param {string} text
   * @param {Element} place   where the text stands
   */
  const copy = async (pressed, text, place) => {
    const label = /** @type {Element} */ (pressed.lastElementChild);
    const former = label.textContent ?? "";
    try {
      await navigator.clipboard.writeText(text);
      setText(label, "Copied");
    } catch {
      getSelection()?.selectAllChildren(place);
      setText(label, "Press Ctrl-C");
    }
    setText(said, label.textContent ?? "");
    setTimeout(() => setText(label, former), SAID_MS);
  };

  const without = `${host.without.charAt(0).toUpperCase()}${host.without.slice(1)}.`;
  const withoutFile = host.file ? "" : without;
  const withoutLink = host.link ? "" : without;
  const address = element("p", { class: "va-address", tabindex: 0, hidden: true });
  const link = action(
    "Copy link",
    "link",
    (now) => {
      const words = host.link?.(now.state) ?? "";
      setText(address, words);
      address.hidden = false;
      return copy(link, words, address);
    },
    withoutLink,
  );
  /** @param {Now} now */
  const recipe = (now) => {
    if (!host.closed) return fromHost("recipe")(now);
    const json = recipeOf(now.capsule, now.settings, now.state.arrangement);
    return save(".json", new Blob([json], { type: "application/json" }), now);
  };
  const copyCode = action("Copy", "copy", () => copy(copyCode, code.textContent ?? "", code));

  const cards = element(
    "ul",
    { class: "va-keep-cards" },
    card("Figure", "Picture, colour bar and sentence, for slides and papers.", [
      action("PNG", "save", async (now) => save("-figure.png", await pngOfFigure(figureNow(now)), now)),
      action("SVG", "save", (now) => save("-figure.svg", svgFile(figureNow(now)), now)),
    ]),
    card("Picture", "The picture alone.", [
      action("PNG", "save", async (now) => save(".png", await pngFile(pictureCanvas(now, false)), now)),
    ]),
    card("Numbers", "The map as arrays, for numpy.load.", [
      action("NPZ", "save", (now) => save(".npz", numbersNow(now), now)),
    ]),
    card(
      "Recipe",
      "All settings, from which va.from_recipe draws it again.",
      [action("JSON", "save", recipe, host.closed ? "" : withoutFile)],
      host.closed ? "" : withoutFile,
    ),
    card(
      "Offline page",
      "This photo in one file that needs neither Python nor a network.",
      [action("HTML", "save", fromHost("page"), withoutFile)],
      withoutFile,
    ),
    card("Link", "Opens the viewer with these settings.", [link], withoutLink),
  );
  const node = element(
    "div",
    { class: "va-keep" },
    cards,
    address,
    element(
      "div",
      { class: "va-code" },
      element("div", { class: "va-line" }, element("strong", {}, "Python code"), copyCode),
      code,
    ),
    said,
  );
  /** @type {Now | null} */
  let last = null;
  const showCode = () => {
    if (last && viewer.opened() === "keep")
      setText(code, pythonCode(last.capsule, last.settings, last.state.arrangement));
  };
  viewer.onOpen(showCode);

  return {
    element: node,
    /** @param {Now} now */
    update(now) {
      last = now;
      address.hidden = true; // it is of other settings now
      showCode();
    },
  };
}
