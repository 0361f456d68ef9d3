// @ts-check
// The settings behind "More" and "Expert". A control without effect rests and says why.

import { colorTable } from "../engine/drawing.js";
import { sourceAggregations } from "../engine/resolve.js";
import { DEFAULTS } from "../engine/settings.js";
import { countSinks } from "../engine/sinks.js";
import { queryWords } from "../engine/tokens.js";
import { button, disclosure, element, field, menu, segments, setText, slider, toggle, uniqueId } from "./dom.js";
import { term, termWords } from "./terms.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */

/** @type {Record<string, Record<string, string>>} the values of settings as people read them */
export const VALUE_WORDS = {
  aggregation: { mean: "average", max: "maximum", mean_over_std: "mean / std" },
  sinks: { mark: "set apart", outline: "outlined", leave_out: "left out", show: "as they are" },
  scale: { robust: "robust", map: "lowest to highest", shared: "all heads" },
  blend: { glow: "glow", even: "even" },
  on: { view: "what the model saw", original: "whole photo" },
  arrangement: { overlay: "on the photo", map: "map alone", "side by side": "side by side" },
};

/** What makes the paper's drawing of any map. */
export const PAPER_LOOK = Object.fromEntries(
  /** @type {const} */ (["sinks", "bilinear", "median", "gaussian", "scale", "opacity", "cmap", "on", "blend"]).map(
    (name) => [name, DEFAULTS[name]],
  ),
);

/**
 * @param {string} name
 * @param {readonly string[]} values
 * @param {(value: string) => string} [reason]
 */
function optionsOf(name, values, reason = () => "") {
  return values.map((value) => ({ value, label: VALUE_WORDS[name][value] ?? value, reason: reason(value) }));
}

/** @param {Viewer} viewer */
export function moreOf(viewer) {
  const { store } = viewer;
  const aggregation = segments(term("aggregation", "Heads together by"), (value) =>
    store.change({ aggregation: value }),
  );
  const query = menu(term("query", "Who looks (query)"), (value) => {
    if (value !== "patch") store.change({ query: value === "default" ? null : value });
  });
  const sinks = segments(term("sink", "Sink patches"), (value) => store.change({ sinks: value }));

  /** @param {Now} now */
  const updateAggregation = ({ capsule, settings }) => {
    const source = capsule.source(settings.source);
    const possible = sourceAggregations(capsule, settings.source, settings.layer);
    const { heads } = capsule.facts.layers[settings.layer];
    /** @param {string} value */
    const why = (value) => {
      if (possible.includes(value)) return "";
      return heads < 2 ? "needs at least two heads" : `${source.title} has none`;
    };
    aggregation.fill(optionsOf("aggregation", capsule.facts.choices.aggregations, why));
    aggregation.choose(settings.aggregation);
    const alone = settings.head === null || source.no_head ? "" : `head ${settings.head} is shown alone`;
    aggregation.rest(source.no_aggregation || alone || (heads < 2 ? "the layer has one head" : ""));
  };

  /** @param {Now} now */
  const updateQuery = ({ capsule, settings }) => {
    const { facts } = capsule;
    const layer = facts.layers[settings.layer];
    const words = facts.words.queries;
    const chosen = settings.query;
    const patch = Array.isArray(chosen)
      ? queryWords(chosen, words)
      : layer.query_patches
        ? "a patch: click the picture"
        : "a patch";
    query.fill([
      { value: "default", label: `${queryWords(layer.default_query, words)} (usual)` },
      ...layer.queries
        .filter((name) => name !== layer.default_query)
        .map((name) => ({ value: name, label: queryWords(name, words) })),
      { value: "patch", label: patch, reason: layer.query_patches ? "" : "this layer has no patch queries" },
    ]);
    query.rest(capsule.source(settings.source).no_query);
    query.choose(
      Array.isArray(chosen) ? "patch" : chosen === null || chosen === layer.default_query ? "default" : chosen,
    );
  };

  return {
    element: disclosure("More", aggregation.element, query.element, sinks.element),
    /** @param {Now} now */
    update(now) {
      const { capsule, settings, prepared } = now;
      updateAggregation(now);
      updateQuery(now);
      sinks.fill(optionsOf("sinks", [...capsule.facts.choices.sinks].reverse()));
      sinks.choose(settings.sinks);
      sinks.rest(countSinks(prepared.sinks) ? "" : "this layer has none");
    },
  };
}

/** @param {Viewer} viewer */
export function expertOf(viewer) {
  const { store } = viewer;
  const source = menu("Computed from (source)", (value) => store.change({ source: value }));
  const sentence = element("p", { class: "va-help" });
  const scale = segments(term("scale"), (value) => store.change({ scale: value }));
  const steps = /** @type {const} */ (["bilinear", "median", "gaussian"]).map((name) => ({
    name,
    ...toggle(name === "gaussian" ? "Gaussian" : name, (checked) => store.change({ [name]: checked })),
  }));
  const smoothing = field(
    term("smoothing"),
    element("div", { class: "va-line" }, ...steps.map((step) => step.element)),
    { group: true },
  );
  const blend = segments(term("glow", "Blend"), (value) => store.change({ blend: value }));
  const opacity = slider("Opacity", { min: 0, max: 1, step: 0.01 }, (value) => store.change({ opacity: value }));
  const colors = swatchesOf((value) => store.change({ cmap: value }));
  const on = segments("Ground", (value) => store.change({ on: value }));
  const arrangement = segments("Arrangement", (value) => store.change({ arrangement: value }));
  const paper = button({
    text: "Exactly the paper’s drawing",
    class: "va-wide-button",
    onclick: () => store.change({ ...PAPER_LOOK, source: DEFAULTS.source, arrangement: "overlay" }),
  });
  const reference = element("p", { class: "va-help va-reference" });

  return {
    element: disclosure(
      "Expert",
      source.element,
      sentence,
      scale.element,
      smoothing.element,
      blend.element,
      opacity.element,
      colors.element,
      on.element,
      arrangement.element,
      paper,
      reference,
    ),
    /** @param {Now} now */
    update({ capsule, settings, state, changed }) {
      const { facts } = capsule;
      const made = capsule.source(settings.source);
      source.fill(
        facts.sources.map(({ name, title, unavailable }) => ({ value: name, label: title, reason: unavailable })),
      );
      source.choose(settings.source);
      if (changed.has("source") || changed.has("capsule")) {
        setText(sentence, termWords(made.name));
        setText(reference, `Source: ${made.reference}`);
      }
      scale.fill(optionsOf("scale", ["robust", "map", "shared"]));
      scale.choose(settings.scale);
      for (const step of steps) step.input.checked = settings[step.name];
      blend.fill(optionsOf("blend", ["glow", "even"]));
      blend.choose(settings.blend);
      const overlaid = state.arrangement === "overlay" ? "" : "only where the map lies on the photo";
      blend.rest(overlaid);
      opacity.choose(settings.opacity, `${Math.round(100 * settings.opacity)}%`);
      opacity.rest(overlaid);
      colors.update(capsule, settings.cmap);
      colors.rest(made.signed ? "values for and against have their own colours" : "");
      const [left, top, right, bottom] = facts.picture.crop_box;
      const [width, height] = facts.picture.photo_size;
      const whole = left <= 0.5 && top <= 0.5 && right >= width - 0.5 && bottom >= height - 0.5;
      on.fill(optionsOf("on", facts.choices.grounds));
      on.choose(settings.on);
      on.rest(whole && settings.on === "view" ? "the model saw the whole photo" : "");
      arrangement.fill(optionsOf("arrangement", facts.choices.arrangements));
      arrangement.choose(state.arrangement);
    },
  };
}

/**
 * Colour maps to choose from, each as a strip of its colours.
 * @param {(value: string) => void} onchange
 */
function swatchesOf(onchange) {
  const name = uniqueId("colours");
  const row = element("div", { class: "va-swatches", role: "radiogroup" });
  const frame = field("Colours", row, { group: true });
  row.setAttribute("role", "radiogroup");
  let filled = "";
  return {
    element: frame.element,
    rest: frame.rest,
    /**
     * @param {import("./types.js").Capsule} capsule
     * @param {string} chosen
     */
    update(capsule, chosen) {
      const { cmaps } = capsule.facts.choices;
      const all = cmaps.includes(chosen) ? cmaps : [...cmaps, chosen];
      if (filled !== all.join()) {
        filled = all.join();
        row.replaceChildren(
          ...all.map((cmap) => {
            const strip = element("canvas", { width: 64, height: 1, "aria-hidden": "true" });
            const table = capsule.has(`colors.${cmap}`) ? colorTable(capsule, cmap) : null;
            const pixels = new Uint8ClampedArray(4 * 64).fill(255);
            if (table)
              for (let at = 0; at < 64; at += 1) pixels.set(table.subarray(3 * 4 * at, 3 * 4 * at + 3), 4 * at);
            strip.getContext("2d")?.putImageData(new ImageData(pixels, 64, 1), 0, 0);
            const input = element("input", {
              type: "radio",
              name,
              value: cmap,
              "aria-label": cmap,
              onchange: () => onchange(cmap),
            });
            return element("label", { title: cmap }, input, strip);
          }),
        );
      }
      for (const input of row.querySelectorAll("input")) input.checked = input.value === chosen;
    },
  };
}
