// @ts-check
// Is this map worth anything? The verdict first, then sentences and curves. A result stays, beside its own small picture.

import { MAP_FIELDS } from "../engine/settings.js";
import { curvesOf } from "./curves.js";
import { button, element, setText } from "./dom.js";
import { framePatches } from "./frames.js";
import { groundSize, paintPicture } from "./paint.js";
import { questionOf } from "./questions.js";
import { percentWords } from "./search.js";
import { sameValue } from "./store.js";
import { withTerms } from "./terms.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */

const KEPT_RESULTS = 6;
const TAG_SIDE = 168; // pixels of the longest side of a result's picture

/**
 * What makes two maps the same for a check: all that chooses the map, not how it is drawn.
 * @param {Now} now
 * @returns {import("./types.js").PanelChoice}
 */
function mapKey({ state, settings }) {
  const map = Object.fromEntries(MAP_FIELDS.map((name) => [name, settings[name]]));
  return /** @type {any} */ ({ model: state.model, picture: state.picture, ...map });
}

/** @param {Now} now @returns {HTMLCanvasElement} the map as it is drawn now, small */
function tagOf({ capsule, settings, photo, drawn, prepared }) {
  const [width, height] = groundSize(capsule, settings.on);
  const scale = TAG_SIDE / Math.max(width, height);
  const canvas = element("canvas", {
    width: Math.round(width * scale),
    height: Math.round(height * scale),
    "aria-hidden": "true",
  });
  paintPicture(canvas, capsule, photo, settings.on, drawn);
  framePatches(canvas, capsule, settings, prepared);
  return canvas;
}

/** @param {Viewer} viewer */
export function checkOf(viewer) {
  const { host, store } = viewer;
  const start = button({ text: "Check this map", icon: "check", class: "va-strong", onclick: () => run() });
  const reason = element("span", { class: "va-reason" });
  const help = element(
    "p",
    { class: "va-help" },
    "Takes away the brightest patches and asks the model again, puts them back, shuffles its last weights and silences its heads. A few seconds.",
  );
  const list = element("div", { class: "va-results", "aria-live": "polite" });
  const node = element(
    "div",
    { class: "va-check" },
    element("div", { class: "va-check-head" }, start, reason, help),
    list,
  );
  /** @type {{key: ReturnType<typeof mapKey>, article: HTMLElement, mark: (here: boolean) => void}[]} */
  let results = [];
  let running = false;

  /** @param {Now} now */
  const resultOf = (now) => {
    const key = mapKey(now);
    const place = element("p", { class: "va-result-place" });
    const again = button({
      text: "Show this map",
      class: "va-result-show",
      onclick: () => {
        const current = viewer.now();
        const question =
          current && current.settings.source !== key.source ? { question: questionOf(current.capsule, key) } : {};
        store.change({ ...key, ...question });
      },
    });
    const remove = button({
      icon: "close",
      label: "Remove this result",
      class: "va-result-remove",
      onclick: () => {
        results = results.filter((one) => one !== result);
        article.remove();
        start.focus();
        show();
      },
    });
    const tag = element(
      "div",
      { class: "va-result-tag" },
      tagOf(now),
      element("div", {}, place, element("p", { class: "va-result-of" }, now.prepared.sentence), again),
    );
    const body = element(
      "div",
      { class: "va-result-body" },
      element("p", { class: "va-result-verdict va-waiting" }, "Checking ..."),
    );
    const article = element("article", { class: "va-result" }, tag, body, remove);
    const result = {
      key,
      article,
      /** @param {boolean} here   whether it is of the map on the screen */
      mark(here) {
        setText(
          place,
          here ? "The map shown" : `Another map: ${key.picture}, ${now.capsule.facts.layers[now.settings.layer].words}`,
        );
        article.classList.toggle("va-elsewhere", !here);
        again.hidden = here;
      },
      /** @param {import("./curves.js").CheckFacts} facts */
      fill(facts) {
        body.replaceChildren(
          element("p", { class: "va-result-class" }, `${facts.class_name}: ${percentWords(facts.probability)}`),
          element("p", { class: "va-result-verdict" }, facts.verdict),
          element("ul", {}, ...facts.sentences.map((sentence) => element("li", {}, ...withTerms(sentence)))),
          curvesOf(facts),
        );
      },
    };
    return result;
  };

  const run = async () => {
    const now = viewer.now();
    if (!now || !host.check || running || whyNot(now)) return;
    running = true;
    let close = viewer.say({ kind: "progress", text: "Checking this map" });
    /** @param {string} text */
    const waiting = (text) => {
      close();
      close = viewer.say({ kind: "progress", text });
    };
    const result = resultOf(now);
    results = [result, ...results];
    list.prepend(result.article);
    show();
    try {
      result.fill(await host.check(now.state.model, now.state.picture, now.settings, waiting));
      for (const old of results.splice(KEPT_RESULTS)) old.article.remove();
    } catch (error) {
      results = results.filter((one) => one !== result);
      result.article.remove();
      viewer.say({ kind: "error", text: error instanceof Error ? error.message : String(error) });
    }
    close();
    running = false;
    show();
  };

  /** @param {Now} now @returns {string} why the check rests; "" if it does not */
  const whyNot = (now) => {
    if (!host.check) return `The check asks the model again: ${host.without}.`;
    if (!now.capsule.facts.model.classes.length)
      return "This model has no classifier, so there is no answer to follow.";
    if (running) return "";
    return results.some(({ key }) => sameValue(key, mapKey(now))) ? "This map is checked below." : "";
  };

  const show = () => {
    const now = viewer.now();
    if (!now) return;
    const why = whyNot(now);
    setText(reason, why);
    start.disabled = Boolean(why) || running;
    start.setAttribute("aria-busy", String(running));
    help.hidden = Boolean(why) || results.length > 0;
    const key = mapKey(now);
    for (const one of results) one.mark(sameValue(one.key, key));
  };

  viewer.onOpen(show);

  return {
    element: node,
    /** @param {Now} now */
    update({ changed }) {
      if (changed.has("capsule") || MAP_FIELDS.some((name) => changed.has(name))) show();
    },
  };
}
