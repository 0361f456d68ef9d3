// @ts-check
// The three questions as tabs: each sets source, sinks and scale, and gives back what was there when it is left.

import { element, setText } from "./dom.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./types.js").Capsule} Capsule */

const QUESTION_FIELDS = /** @type {const} */ (["source", "sinks", "scale"]);

/** @type {Record<string, string>} one line below the open tab */
const EXPLAINED = {
  look: "Attention: where a layer looks, whatever the answer.",
  use: "Contributions: what raised the score of the answer (red), and what lowered it (blue).",
  believe: "A test of what it used: the reddest patches are taken away, and the answer is asked again.",
};

/** The same of a model whose answer cannot be divided into contributions. */
const UNDIVIDED = "Gradient x attention, summed up to this layer: what raised the score of the answer.";

/**
 * The question that settings belong to: where they come from outside, the tab is told by the source.
 * @param {Capsule} capsule
 * @param {{source: string}} settings
 */
export function questionOf(capsule, settings) {
  const { questions } = capsule.facts;
  return (questions.find((one) => one.settings.source === settings.source) ?? questions[0]).name;
}

/**
 * The settings that a question starts from.
 * @param {Capsule} capsule
 * @param {string} question
 * @returns {Record<string, any>}
 */
export function questionSettings(capsule, question) {
  const { start, questions } = capsule.facts;
  return { ...start, arrangement: "overlay", ...questions.find((one) => one.name === question)?.settings };
}

/** @param {Viewer} viewer */
export function questionsOf(viewer) {
  const list = element("div", { class: "va-tablist", role: "tablist", "aria-label": "Questions" });
  const line = element("p", { class: "va-tab-line" });
  /** @type {Map<string, object>} what each tab had when it was left */
  const left = new Map();
  /** @type {HTMLButtonElement[]} */
  let tabs = [];
  let built = "";

  /** @param {string} question */
  const open = (question) => {
    const now = viewer.now();
    if (!now) return;
    const { state, capsule } = now;
    if (viewer.store.get().question !== question) {
      const own = capsule.facts.questions.find((one) => one.name === question)?.settings;
      viewer.store.change({ question, ...(left.get(question) ?? own) });
    }
    if (question === "believe") viewer.open("check");
    else if (state.question === "believe" && viewer.opened() === "check") viewer.open("");
  };

  // a click on a class changes the question too
  viewer.store.subscribe((changed) => {
    const former = viewer.now()?.state;
    if (!changed.has("question") || !former || former.question === viewer.store.get().question) return;
    left.set(former.question, Object.fromEntries(QUESTION_FIELDS.map((name) => [name, former[name]])));
  });

  list.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const usable = tabs.filter((tab) => !tab.disabled);
    const next =
      usable[(usable.indexOf(/** @type {HTMLButtonElement} */ (event.target)) + step + usable.length) % usable.length];
    next.focus();
    next.click();
  });

  return {
    element: element("nav", { class: "va-questions", "aria-label": "Questions" }, list),
    line,
    /** @param {Now} now */
    update({ capsule, state }) {
      const { questions } = capsule.facts;
      const wanted = JSON.stringify([questions, capsule.facts.sources.map((source) => source.unavailable)]);
      if (wanted !== built) {
        built = wanted;
        tabs = questions.map(({ name, title, settings }) => {
          const why = capsule.source(settings.source).unavailable;
          return element(
            "button",
            {
              type: "button",
              role: "tab",
              id: `${viewer.id}-tab-${name}`,
              "aria-controls": `${viewer.id}-body`,
              "data-question": name,
              disabled: Boolean(why),
              title: why,
              onclick: () => open(name),
            },
            element("span", {}, title),
            ...(why ? [element("small", {}, why)] : []),
          );
        });
        list.replaceChildren(...tabs);
      }
      for (const tab of tabs) {
        const chosen = tab.dataset.question === state.question;
        tab.setAttribute("aria-selected", String(chosen));
        tab.tabIndex = chosen ? 0 : -1;
      }
      const { source } = questionSettings(capsule, state.question);
      const other = state.question === "use" && !capsule.source(source).signed;
      setText(line, other ? UNDIVIDED : (EXPLAINED[state.question] ?? ""));
    },
  };
}
