// @ts-check
// Chips on the picture: what is set deep down and differs from the question's own settings, each with its undo.

import { queryWords } from "../engine/tokens.js";
import { PAPER_LOOK, VALUE_WORDS } from "./choices.js";
import { button, element } from "./dom.js";
import { questionSettings } from "./questions.js";
import { sameValue } from "./store.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./types.js").State} State */
/** @typedef {{words: string, changes: Partial<State>}} Chip   `changes` undo it */

const SMOOTHING_STEPS = ["bilinear", "median", "gaussian"];
const DEEP_FIELDS = [
  "source",
  "target",
  "query",
  "aggregation",
  "sinks",
  "scale",
  "blend",
  "opacity",
  "cmap",
  "on",
  "arrangement",
];

/**
 * @param {Now} now
 * @param {string} name
 * @returns {string}
 */
function chipWords({ capsule, settings, state, prepared }, name) {
  const { facts } = capsule;
  const value = /** @type {any} */ ({ ...state, ...settings })[name];
  const { source } = prepared.raw.resolved;
  switch (name) {
    case "source":
      return source.title;
    case "target":
      return capsule.isDirection(value) ? capsule.answerWords(value) : `class: ${facts.model.classes[value] ?? value}`;
    case "query":
      return `query: ${queryWords(value, facts.words.queries)}`;
    case "opacity":
      return `opacity ${Math.round(100 * value)}%`;
    case "sinks":
      return `sinks ${VALUE_WORDS.sinks[value]}`;
    case "scale":
      return `scale: ${VALUE_WORDS.scale[value]}`;
    default:
      return VALUE_WORDS[name]?.[value] ?? String(value);
  }
}

/**
 * Whether a setting has no effect on this map, so that nobody need undo it.
 * @param {Now} now
 * @param {string} name
 */
function rests({ settings, prepared, state }, name) {
  const { source } = prepared.raw.resolved;
  if (name === "target") return Boolean(source.no_class);
  if (name === "query") return Boolean(source.no_query);
  if (name === "cmap") return source.signed;
  if (name === "aggregation") return Boolean(source.no_aggregation) || (settings.head !== null && !source.no_head);
  if (name === "sinks") return !prepared.sinks.some(Boolean);
  return (name === "blend" || name === "opacity") && state.arrangement !== "overlay";
}

/**
 * @param {Now} now
 * @returns {Chip[]}
 */
function chipsNow(now) {
  const { capsule, settings, state } = now;
  const base = questionSettings(capsule, state.question);
  const values = /** @type {Record<string, any>} */ ({ ...state, ...settings });
  /** @param {string[]} names */
  const back = (names) => Object.fromEntries(names.map((name) => [name, base[name]]));
  /** @type {Chip[]} */
  const chips = [];
  const paper = Object.entries(PAPER_LOOK).every(([name, value]) => sameValue(values[name], value));
  if (paper) chips.push({ words: "the paper’s drawing", changes: back(Object.keys(PAPER_LOOK)) });
  for (const name of DEEP_FIELDS) {
    if (sameValue(values[name], base[name]) || rests(now, name) || (paper && name in PAPER_LOOK)) continue;
    chips.push({ words: chipWords(now, name), changes: back([name]) });
  }
  const off = SMOOTHING_STEPS.filter((name) => values[name] !== base[name]);
  if (off.length && !paper) {
    const words =
      off.length === SMOOTHING_STEPS.length
        ? "no smoothing"
        : `no ${off.join(", no ")}`.replace("gaussian", "Gaussian");
    chips.push({ words, changes: back(off) });
  }
  return chips;
}

/** @param {Viewer} viewer */
export function chipsOf(viewer) {
  const node = element("div", { class: "va-chips", role: "group", "aria-label": "What is set differently" });
  let shown = "";
  return {
    element: node,
    /** @param {Now} now */
    update(now) {
      const chips = chipsNow(now);
      const next = JSON.stringify(chips);
      if (next === shown) return;
      shown = next;
      const focused = [...node.children].indexOf(/** @type {Element} */ (document.activeElement));
      node.replaceChildren(
        ...chips.map(({ words, changes }) => {
          const chip = button({
            text: words,
            icon: "close",
            class: "va-chip",
            title: "Take this back",
            onclick: () => viewer.store.change(changes),
          });
          chip.append(element("span", { class: "va-hidden" }, ": take back"));
          return chip;
        }),
      );
      node.hidden = !chips.length;
      // the chip that was pressed is gone: its neighbour keeps the keyboard
      if (focused >= 0)
        /** @type {HTMLElement | undefined} */ (node.children[Math.min(focused, chips.length - 1)])?.focus();
    },
  };
}
