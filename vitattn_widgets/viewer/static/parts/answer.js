// @ts-check
// The model's answer: each class is a button for its map, and a second one for the difference of the two.

import { missing } from "../engine/attribution.js";
import { likelyClasses } from "../engine/classes.js";
import { fixed } from "../engine/formats.js";
import { MAP_FIELDS } from "../engine/settings.js";
import { button, element, setText } from "./dom.js";
import { percentWords, searchOf } from "./search.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").PanelChoice} PanelChoice */

const SHOWN = 5;
const SOURCE_OF_CLASSES = "use"; // the question whose source has a map for each class

/**
 * What must change so that the map depends on the class; nothing if it does already.
 * @param {Now} now
 * @returns {Partial<State>}
 */
export function classSource({ capsule, settings }) {
  if (!capsule.source(settings.source).no_class) return {};
  const question = capsule.facts.questions.find(({ name }) => name === SOURCE_OF_CLASSES);
  return question ? { question: question.name, ...question.settings } : {};
}

/**
 * The class whose map is shown; of another map, the predicted class; null without a classifier.
 * @param {Now} now
 * @returns {number | null}
 */
export function shownClass({ capsule, prepared, settings }) {
  if (!capsule.facts.model.classes.length) return null;
  const target = prepared.raw.resolved.target ?? settings.target;
  return capsule.classOrPredicted(capsule.isDirection(target) ? null : target);
}

/**
 * The two classes whose difference the comparison shows; null if it shows another one.
 * @param {State} state
 */
function classPair({ panels, difference, model, picture }) {
  const [first, second] = difference.length ? difference.map((place) => panels[place]) : panels;
  if (!first || !second || (panels.length > 2 && !difference.length) || first.target === second.target) return null;
  const here = [first, second].every((one) => one.model === model && one.picture === picture);
  return here ? [first.target, second.target] : null;
}

/** @param {Viewer} viewer */
export function answerOf(viewer) {
  const { store } = viewer;
  const rows = element("ol", { class: "va-classes" });
  const search = searchOf((target, second) => (second || picking ? against(target) : choose(target)));
  const other = button({ text: "Why …?", class: "va-other", onclick: () => pick(!picking) });
  const doubt = element("p", { class: "va-doubt", role: "status", hidden: true });
  const hint = element("span", { class: "va-hidden", role: "status" });
  const node = element(
    "section",
    { class: "va-answer" },
    element("h2", {}, "The model’s answer"),
    rows,
    doubt,
    search.element,
    other,
    hint,
  );
  let picking = false;
  let built = "";

  const shown = () => {
    const now = viewer.now();
    return now ? shownClass(now) : null;
  };

  /** @param {number} target */
  const choose = (target) => {
    const now = viewer.now();
    if (now) store.change({ ...classSource(now), target });
  };

  /** @param {number} second */
  const against = (second) => {
    const now = viewer.now();
    const first = shown();
    if (!now || first === null || first === second) return;
    pick(false);
    const { model, picture } = now.state;
    const changes = classSource(now);
    const settings = { ...now.settings, ...changes };
    const map = Object.fromEntries(MAP_FIELDS.map((name) => [name, settings[name]]));
    const panels = [first, second].map((target) => /** @type {PanelChoice} */ ({ model, picture, ...map, target }));
    store.change({ ...changes, target: first, panels, difference: [0, 1] });
    viewer.open("compare");
  };

  /** @param {boolean} on */
  const pick = (on) => {
    picking = on;
    node.classList.toggle("va-picking", on);
    other.setAttribute("aria-pressed", String(on));
    setText(hint, on ? "Choose the other class: press one, or search it." : "");
    nameOther();
    if (on && node.contains(document.activeElement))
      /** @type {HTMLElement | null} */ (rows.querySelector("button:not(:disabled)"))?.focus();
    mark();
  };

  const nameOther = () => {
    const now = viewer.now();
    const target = shown();
    const name = now && target !== null ? now.capsule.facts.model.classes[target] : "";
    const words = picking ? `Press the class to compare with ${name}` : `Why ${name} and not …?`;
    setText(/** @type {Element} */ (other.lastElementChild), words);
  };

  // which class the map is of, and the two of a difference
  const mark = () => {
    const now = viewer.now();
    if (!now) return;
    const target = now.prepared.raw.resolved.target;
    const pair = viewer.opened() === "compare" ? classPair(now.state) : null;
    for (const row of rows.querySelectorAll("button")) {
      const own = Number(row.dataset.class);
      row.setAttribute("aria-pressed", String(own === target));
      row.disabled = picking && own === shown();
      row.dataset.sign = pair ? (["plus", "minus"][pair.indexOf(own)] ?? "") : "";
    }
  };

  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !picking) return;
    event.stopPropagation();
    pick(false);
    other.focus();
  });
  viewer.onOpen(mark);

  /** @param {Now} now */
  const build = (now) => {
    const { capsule, prepared } = now;
    const source = classSource(now);
    /** @param {number} one */
    const absent = (one) =>
      viewer.host.closed && missing(capsule, { ...now.settings, query: null, ...source, target: one }) !== null;
    const { classes, directions } = capsule.facts.model;
    const probabilities = capsule.floats("probabilities");
    const listed = likelyClasses(probabilities, SHOWN);
    const { target } = prepared.raw.resolved;
    if (target !== null && !capsule.isDirection(target) && !listed.includes(target)) listed.push(target);
    listed.push(...directions.map((_, place) => classes.length + place));
    /** @param {number} one */
    const share = (one) => (capsule.isDirection(one) ? directions[one - classes.length].cosine : probabilities[one]);
    const next = JSON.stringify(listed.map((one) => [one, capsule.answerWords(one), share(one)]));
    if (next === built) return;
    built = next;
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset.class : undefined;
    rows.replaceChildren(
      ...listed.map((own) => {
        const fill = element("i", { class: "va-class-fill" });
        const lacks = absent(own);
        const name = capsule.answerWords(own);
        fill.style.width = `${100 * Math.max(0, share(own))}%`;
        const row = element(
          "button",
          {
            type: "button",
            class: "va-class",
            "data-class": own,
            "aria-disabled": lacks && "true",
            title: lacks
              ? `${name}: its map is not in this file`
              : `${name}\nClick: its map. With Shift: the difference of what is shown and this one.`,
            onclick: (event) => (picking || event.shiftKey ? against(own) : choose(own)),
          },
          fill,
          element("span", { class: "va-class-name" }, name),
          element(
            "span",
            { class: "va-percent" },
            capsule.isDirection(own) ? `cosine ${fixed(share(own), 2)}` : percentWords(share(own)),
          ),
        );
        return element("li", {}, row);
      }),
    );
    if (focused) /** @type {HTMLElement | null} */ (rows.querySelector(`[data-class="${Number(focused)}"]`))?.focus();
  };

  return {
    element: node,
    /** @param {Now} now */
    update(now) {
      const { changed, capsule } = now;
      if (changed.has("capsule")) {
        const { classes } = capsule.facts.model;
        search.know(classes, capsule.floats("probabilities"));
        search.element.hidden = other.hidden = !classes.length;
        if (!capsule.targetNames.length) {
          built = "";
          rows.replaceChildren(
            element("li", { class: "va-none" }, "This model has no classifier, so it gives no answer."),
          );
        }
        setText(doubt, capsule.facts.doubt);
        doubt.hidden = !capsule.facts.doubt;
        if (picking) pick(false);
      }
      if (!capsule.targetNames.length) return;
      if (!["capsule", "target", "source", "panels", "difference"].some((name) => changed.has(name))) return;
      build(now);
      if (!other.hidden) nameOther();
      mark();
    },
  };
}
