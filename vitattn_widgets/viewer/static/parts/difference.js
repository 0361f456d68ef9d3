// @ts-check
// The difference of two panels: which two, the picture with its colour bar, and what its colours mean.

import { differenceView } from "../engine/compare.js";
import { panelTitles } from "../engine/panels.js";
import { barOf, barPlate } from "./bars.js";
import { button, element, icon, setText, uniqueId } from "./dom.js";
import { groundSize, paintGrey, paintGround } from "./paint.js";

/** @typedef {import("../engine/panels.js").Panel} Panel */
/** @typedef {import("./paint.js").Photo} Photo */
/** @typedef {import("../engine/compare.js").DifferenceView} DifferenceView */
/** @typedef {Panel & {photo: Photo}} ShownPanel */
/** @typedef {{view: DifferenceView, first: ShownPanel}} ShownDifference */

/**
 * Paint a difference over a light grey photo.
 * @param {HTMLCanvasElement} canvas   keeps its size
 * @param {ShownPanel} first
 * @param {DifferenceView} view
 */
export function paintDifference(canvas, first, view) {
  const { ground, where, width, height } = view;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const [across, down] = [canvas.width / width, canvas.height / height];
  paintGround(context, first.capsule, first.photo, ground);
  const [left, top, right, bottom] = where;
  /** @type {[number, number, number, number]} */
  const place = [left * across, top * down, (right - left) * across, (bottom - top) * down];
  paintGrey(context, place);
  const sheet = element("canvas", { width: right - left, height: bottom - top });
  const pixels = new ImageData(view.colors, sheet.width, sheet.height);
  sheet.getContext("2d")?.putImageData(pixels, 0, 0);
  context.drawImage(sheet, ...place);
}

/** @param {(pair: number[]) => void} choose   two numbers of panels, or none */
export function differenceOf(choose) {
  const title = element("span", { class: "va-card-title" });
  const canvas = element("canvas", { role: "img" });
  const bar = barPlate();
  const words = element("p", { class: "va-difference-words" });
  const problem = element("p", { class: "va-difference-problem" });
  const figure = element("figure", {}, canvas, title, bar.element, words);
  /** @type {string[]} */
  let chosen = ["", ""];

  const fill = () => {
    for (const [place, menu] of menus.entries()) menu.value = chosen[place];
  };
  const say = () => choose(chosen.includes("") ? [] : chosen.map(Number));
  /** @param {number} place */
  const menuOf = (place) => {
    const menu = element("select", {
      class: "va-select",
      id: uniqueId("difference"),
      "aria-label": `${place ? "Second" : "First"} panel of the difference`,
      onchange: () => {
        const other = 1 - place;
        if (menu.value && menu.value === chosen[other]) chosen[other] = chosen[place];
        chosen[place] = menu.value;
        if (!menu.value) chosen = ["", ""];
        fill();
        if (!menu.value || !chosen.includes("")) say();
      },
    });
    return menu;
  };
  const menus = [menuOf(0), menuOf(1)];
  const swap = button({
    text: "Swap",
    class: "va-swap",
    onclick: () => {
      chosen.reverse();
      fill();
      say();
    },
  });
  const choice = element(
    "div",
    { class: "va-line va-difference-choice" },
    element("span", { class: "va-label" }, "Difference:"),
    menus[0],
    element("span", {}, "minus"),
    menus[1],
    swap,
  );
  const node = element("section", { class: "va-difference", "aria-label": "Difference of two panels" }, figure);

  return {
    element: node,
    choice,
    problem,
    /**
     * @param {{titles: string[], pair: number[], panels: (ShownPanel | null)[], scale: string}} shown   of the panels
     *   not here yet, null
     * @returns {ShownDifference | null}
     */
    update({ titles, pair, panels, scale }) {
      const options = titles.map((words, place) => ({ value: String(place), words: `${place + 1}  ${words}` }));
      if (titles.length > 2) options.unshift({ value: "", words: "none" });
      for (const menu of menus) {
        if (JSON.stringify(options) === menu.dataset.filled) continue;
        menu.dataset.filled = JSON.stringify(options);
        menu.replaceChildren(...options.map(({ value, words }) => element("option", { value }, words)));
      }
      const half = chosen.filter(Boolean).length === 1; // a choice that is half made stays as it is
      if (pair.length || !half || titles.length < 3) chosen = pair.length ? pair.map(String) : ["", ""];
      fill();
      choice.hidden = titles.length < 2 || (titles.length === 2 && !pair.length);
      choice.classList.toggle("va-pair-only", titles.length === 2);
      swap.disabled = !pair.length;
      const [first, second] = pair.map((place) => panels[place]);
      let view = null;
      problem.replaceChildren();
      if (first && second) {
        try {
          view = differenceView(first, second, scale);
        } catch (error) {
          problem.append(icon("warn"), element("span", {}, error instanceof Error ? error.message : String(error)));
        }
      }
      node.hidden = !view;
      problem.hidden = Boolean(view) || !problem.firstChild;
      if (!view || !first || !second) return null;
      // what both share stands below the row, and the title above
      const { common } = panelTitles([first, second]);
      const meaning = view.caption.slice(view.title.length + 2, -common.length - 2);
      setText(words, `${meaning.charAt(0).toUpperCase()}${meaning.slice(1)}.`);
      setText(title, view.title);
      canvas.setAttribute("aria-label", view.caption);
      const [width, height] = groundSize(first.capsule, view.ground);
      canvas.style.aspectRatio = `${width} / ${height}`;
      const wide = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
      if (wide) [canvas.width, canvas.height] = [wide, Math.round((wide * height) / width)];
      paintDifference(canvas, first, view);
      bar.show(barOf(first.capsule, { cmap: view.cmap, blend: "even" }, view.limits, "times the average patch"));
      return { view, first };
    },
  };
}
