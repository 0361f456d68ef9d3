// @ts-check
// The comparison: views kept side by side on one scale, and the difference of two of them.

import { compareViews } from "../engine/compare.js";
import { panelTitles } from "../engine/panels.js";
import { LOOK } from "../engine/settings.js";
import { barOf, barPlate } from "./bars.js";
import { cardsOf } from "./cards.js";
import { differenceOf, paintDifference } from "./difference.js";
import { button, element, segments, setText } from "./dom.js";
import { figureOf, pngOfFigure, saveFile, svgFile } from "./figure.js";
import { framePatches } from "./frames.js";
import { depthWords, panelChoice, presetRows } from "./kept.js";
import { groundSize, paintPicture } from "./paint.js";
import { questionOf } from "./questions.js";
import { slotsOf } from "./slots.js";
import { sameValue } from "./store.js";
import { term } from "./terms.js";

/** @typedef {import("../engine/compare.js").Comparison} Comparison */
/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./types.js").PanelChoice} PanelChoice */
/** @typedef {import("./difference.js").ShownPanel} ShownPanel */
/** @typedef {import("./difference.js").ShownDifference} ShownDifference */
/** @typedef {{comparison: Comparison, panels: ShownPanel[], difference: ShownDifference | null}} ShownRow */

const PAUSE_MS = 70; // the row follows a moving control this much later, so that the picture comes first
const FIGURE_SIDE = 640; // pixels of a panel in a figure
const ROW_LOOK = [...LOOK, "arrangement"]; // what changes all panels
const UNIT_WORDS = "times the average patch";

/**
 * @param {HTMLCanvasElement} canvas   keeps its size
 * @param {ShownPanel} panel
 * @param {Comparison} comparison
 * @param {number} at   the panel's place in it
 */
function paintPanel(canvas, { capsule, settings, photo }, { views, prepared }, at) {
  paintPicture(canvas, capsule, photo, settings.on, views[at]);
  framePatches(canvas, capsule, settings, prepared[at]);
}

/** @param {ShownRow} row @param {number} ticks */
function rowBar({ comparison, panels }, ticks) {
  const { capsule, settings } = panels[0];
  const signed = comparison.views.some((view) => view.signed);
  return barOf(
    capsule,
    { cmap: comparison.cmap, blend: signed ? "even" : settings.blend },
    comparison.limits,
    UNIT_WORDS,
    ticks,
  );
}

/** @param {ShownRow} row @returns {SVGSVGElement} the row as a figure, with the difference as its last panel */
function rowFigure(row) {
  const { comparison, panels, difference } = row;
  /** @param {number} ratio */
  const sheet = (ratio) => element("canvas", { width: FIGURE_SIDE, height: Math.round(FIGURE_SIDE / ratio) });
  const pictures = panels.map((panel, at) => {
    const [width, height] = groundSize(panel.capsule, panel.settings.on);
    const canvas = sheet(width / height);
    paintPanel(canvas, panel, comparison, at);
    return { canvas, title: comparison.titles[at] };
  });
  const bars = [rowBar(row, 5)];
  const lines = [comparison.common];
  if (difference) {
    const { view, first } = difference;
    const canvas = sheet(view.width / view.height);
    paintDifference(canvas, first, view);
    pictures.push({ canvas, title: view.title });
    const look = { cmap: view.cmap, blend: "even" };
    bars.push(barOf(first.capsule, look, view.limits, `first minus second, ${UNIT_WORDS}`, 5));
    lines.push(view.caption);
  }
  return figureOf({ title: "", panels: pictures, bars, lines });
}

/**
 * The name of each panel: its photo; its model, if all are of one photo and only their names tell the models apart.
 * @param {ShownPanel[]} panels
 * @param {PanelChoice[]} choices
 */
function namedPanels(panels, choices) {
  /** @param {"model" | "picture"} part */
  const count = (part) => new Set(choices.map((choice) => choice[part])).size;
  const told = new Set(panels.map(({ capsule }) => capsule.facts.model.name)).size === count("model");
  return panels.map((panel, at) => {
    const { picture, model } = choices[at];
    return { ...panel, name: told ? picture : count("picture") === 1 ? model : `${picture}, ${model}` };
  });
}

/** @param {Viewer} viewer */
export function comparisonOf(viewer) {
  const { store } = viewer;
  const keep = button({ text: "Keep this view", icon: "plus", class: "va-strong", onclick: () => keepView() });
  const presets = element("div", { class: "va-line va-presets", role: "group", "aria-label": "Compare by" });
  const scale = segments(term("shared", "One scale"), (value) => store.change({ panel_scale: value }));
  const tools = element(
    "div",
    { class: "va-line va-compare-tools" },
    scale.element,
    button({ text: "PNG", icon: "save", label: "PNG: save the comparison as a figure", onclick: () => save("png") }),
    button({ text: "SVG", icon: "save", label: "SVG: save the comparison as a figure", onclick: () => save("svg") }),
    button({ text: "Clear", onclick: () => store.change({ panels: [], difference: [] }) }),
  );
  const line = element("p", { class: "va-compare-line", role: "status" });
  const hint = element(
    "p",
    { class: "va-help" },
    "Keep this view beside others, all on one colour scale, or choose what to compare by.",
  );
  const cards = cardsOf({
    show: (place) => showView(store.get().panels[place]),
    move(from, to) {
      const next = [...store.get().panels];
      next.splice(to, 0, ...next.splice(from, 1));
      change(next);
    },
    remove: (place) => change(store.get().panels.filter((_, other) => other !== place)),
  });
  const bar = barPlate();
  const difference = differenceOf((pair) => store.change({ difference: pair }));
  const common = element("p", { class: "va-common" });
  const beside = element(
    "div",
    { class: "va-compared" },
    element("div", { class: "va-compared-panels" }, cards.element, bar.element),
    difference.element,
  );
  const foot = element("div", { class: "va-compare-foot" }, difference.choice, tools);
  const row = element("div", { class: "va-compare-row" }, beside, difference.problem, common, foot);
  const node = element(
    "div",
    { class: "va-comparison" },
    element(
      "div",
      { class: "va-compare-head" },
      keep,
      element("span", { class: "va-label" }, "or compare by"),
      presets,
    ),
    line,
    hint,
    row,
  );
  /** @type {ShownRow | null} */
  let shown = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  let asked = false; // for a difference that is not in sight yet

  /**
   * Keep other panels; the chosen pair stays the same two views, as long as both are there.
   * @param {PanelChoice[]} next
   */
  const change = (next) => {
    const { panels, difference: pair } = store.get();
    const moved = pair.map((place) => next.findIndex((one) => sameValue(one, panels[place])));
    store.change({ panels: next, difference: moved.includes(-1) ? [] : moved });
  };

  const keepView = () => {
    const now = viewer.now();
    if (now) change([...store.get().panels, panelChoice(now.state.model, now.state.picture, now.settings)]);
  };

  /** @param {PanelChoice} panel */
  const showView = (panel) => {
    const now = viewer.now();
    const other = now && panel.source !== now.settings.source;
    store.change({ ...panel, ...(other ? { question: questionOf(now.capsule, panel) } : {}) });
  };

  const rows = presetRows(viewer, (words) => setText(line, words));
  const choices = rows.map((preset) =>
    button({
      text: preset.title,
      class: "va-preset",
      onclick: async () => {
        const now = viewer.now();
        if (!now) return;
        const reason = preset.reason(now);
        setText(line, reason && `Cannot compare by ${preset.title}: ${reason}.`);
        const panels = reason ? [] : await preset.panels(now);
        if (panels.length && !viewer.signal.aborted) store.change({ panels, difference: [] });
      },
    }),
  );
  presets.append(...choices);

  const markCurrent = () => {
    const now = viewer.now();
    const own = now && panelChoice(now.state.model, now.state.picture, now.settings);
    const current = store.get().panels.findIndex((one) => sameValue(one, own));
    cards.mark(current);
    return current;
  };

  /** @param {Now} now */
  const updateHead = (now) => {
    keep.disabled = markCurrent() >= 0;
    setText(/** @type {Element} */ (keep.lastElementChild), keep.disabled ? "This view is kept" : "Keep this view");
    for (const [place, one] of choices.entries()) {
      const reason = rows[place].reason(now);
      one.title = reason || rows[place].words;
      one.setAttribute("aria-disabled", String(Boolean(reason)));
    }
    scale.fill([
      { value: "robust", label: "robust" },
      { value: "shared", label: "lowest to highest" },
    ]);
    scale.choose(now.state.panel_scale);
  };

  const draw = () => {
    const state = store.get();
    const slots = loading.all();
    const empty = !state.panels.length;
    row.hidden = empty;
    hint.hidden = !empty;
    if (viewer.opened() !== "compare" || !slots.length) return;
    const known = slots.filter(({ panel }) => panel);
    const named = namedPanels(
      known.map(({ panel }) => /** @type {ShownPanel} */ (panel)),
      known.map(({ choice }) => choice),
    );
    const { titles: words } = named.length ? panelTitles(named) : { titles: [] };
    const titles = slots.map((slot) => words[known.indexOf(slot)] || slot.choice.picture);
    const ready = slots.filter((slot) => slot.ready);
    const panels = ready.map((slot) => named[known.indexOf(slot)]);
    const comparison = panels.length ? compareViews(panels, state.panel_scale) : null;
    beside.style.setProperty("--va-count", String(slots.length));
    const canvases = cards.update(
      slots.map((slot, place) => {
        const { panel, reason } = slot;
        const [width, height] = panel ? groundSize(panel.capsule, panel.settings.on) : [1, 1];
        return {
          title: titles[place],
          words: comparison?.prepared[ready.indexOf(slot)]?.sentence ?? reason,
          ratio: width / height,
          status: slot.ready ? "ready" : reason ? "failed" : "waiting",
        };
      }),
    );
    markCurrent();
    if (!comparison) return;
    for (const [at, slot] of ready.entries()) paintPanel(canvases[slots.indexOf(slot)], panels[at], comparison, at);
    shown = { comparison, panels, difference: null };
    bar.show(rowBar(shown, 3));
    const depths = depthWords(panels);
    setText(common, [comparison.common && `All: ${comparison.common}.`, depths].filter(Boolean).join(" "));
    const pair = state.difference.length ? state.difference : slots.length === 2 ? [0, 1] : [];
    const places = slots.map((slot) => panels[ready.indexOf(slot)] ?? null);
    shown.difference = difference.update({ titles, pair, panels: places, scale: state.panel_scale });
    if (asked && shown.difference) {
      asked = false;
      difference.element.scrollIntoView({ block: "nearest" });
    }
    const { limits } = comparison;
    node.dataset.drawn = JSON.stringify({ titles, limits, difference: shown.difference?.view.title ?? "" });
  };
  const loading = slotsOf(viewer, draw);

  const refresh = () => {
    clearTimeout(waiting);
    waiting = undefined;
    if (viewer.opened() === "compare" && !viewer.signal.aborted) loading.refresh();
  };

  /** @param {"png" | "svg"} type */
  const save = async (type) => {
    if (!shown) return;
    const figure = rowFigure(shown);
    saveFile(`comparison.${type}`, type === "png" ? await pngOfFigure(figure) : svgFile(figure));
  };

  const resized = new ResizeObserver(loading.drawSoon);
  resized.observe(cards.element);
  viewer.signal.addEventListener("abort", () => {
    resized.disconnect();
    clearTimeout(waiting);
  });
  viewer.onOpen(() => {
    const now = viewer.now();
    if (viewer.opened() !== "compare" || !now) return;
    updateHead(now);
    refresh();
    draw();
  });

  return {
    element: node,
    /** @param {Now} now */
    update(now) {
      if (now.changed.has("difference")) asked = now.state.difference.length > 0;
      if (viewer.opened() !== "compare") return;
      updateHead(now);
      if (["panels", "panel_scale", "difference"].some((name) => now.changed.has(name))) refresh();
      else if (ROW_LOOK.some((name) => now.changed.has(name))) waiting ??= setTimeout(refresh, PAUSE_MS);
    },
  };
}
