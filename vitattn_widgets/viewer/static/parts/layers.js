// @ts-check
// The layer's slider with the film through all layers, and the heads as buttons.

import { element, icon, segments, setText, uniqueId } from "./dom.js";
import { term } from "./terms.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */

const FILM_MS = 550; // per layer

/** @param {Viewer} viewer */
export function layersOf(viewer) {
  const label = uniqueId("layer");
  const input = element("input", {
    type: "range",
    min: 0,
    max: 0,
    step: 1,
    "aria-labelledby": label,
    oninput: () => {
      stop();
      viewer.store.change({ layer: input.valueAsNumber });
    },
  });
  const output = element("output", { class: "va-value" });
  const play = element(
    "button",
    {
      type: "button",
      class: "va-button va-play",
      "aria-label": "Play a film through the layers",
      "aria-pressed": "false",
    },
    icon("play"),
  );
  const node = element(
    "div",
    { class: "va-layers" },
    play,
    element(
      "div",
      { class: "va-layer-slider" },
      element("div", { class: "va-labels" }, element("span", { class: "va-label", id: label }, term("layer")), output),
      input,
    ),
  );
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let film;

  const show = () => {
    play.setAttribute("aria-pressed", String(film !== undefined));
    play.replaceChildren(icon(film === undefined ? "play" : "pause"));
  };
  const stop = () => {
    if (film === undefined) return;
    clearInterval(film);
    film = undefined;
    show();
  };
  const step = () => {
    const { layer } = viewer.store.get();
    if (layer >= Number(input.max)) return stop();
    viewer.store.change({ layer: layer + 1 });
  };
  play.addEventListener("click", () => {
    if (film !== undefined) return stop();
    if (viewer.store.get().layer >= Number(input.max)) viewer.store.change({ layer: 0 });
    film = setInterval(step, FILM_MS);
    show();
  });
  viewer.signal.addEventListener("abort", stop);

  return {
    element: node,
    /** @param {Now} now */
    update({ capsule, settings }) {
      const last = capsule.facts.layers.length - 1;
      input.max = String(last);
      if (input.valueAsNumber !== settings.layer) input.value = String(settings.layer);
      const place = settings.layer === last ? "the last" : settings.layer === 0 ? "the first" : `of 0–${last}`;
      setText(output, `${settings.layer}, ${place}`.replace(", of", " of"));
      input.setAttribute("aria-valuetext", capsule.facts.layers[settings.layer].words);
      play.disabled = last === 0;
    },
  };
}

/** @param {Viewer} viewer */
export function headsOf(viewer) {
  const heads = segments(term("head"), (value) =>
    viewer.store.change({ head: value === "all" ? null : Number(value) }),
  );
  return {
    element: heads.element,
    /** @param {Now} now */
    update({ capsule, settings }) {
      const layer = capsule.facts.layers[settings.layer];
      const { no_head: why } = capsule.source(settings.source);
      const numbers = Array.from({ length: layer.heads }, (_, head) => ({ value: String(head), label: String(head) }));
      heads.fill([{ value: "all", label: "all" }, ...numbers]);
      heads.choose(why || settings.head === null ? "all" : String(settings.head));
      heads.rest(why);
    },
  };
}
