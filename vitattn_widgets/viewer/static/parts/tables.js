// @ts-check
// Each head's part in the answer: what it gives to the class's logit directly, and what is lost when it is silenced.

import { shownClass } from "./answer.js";
import { element, setText } from "./dom.js";
import { term, withTerms } from "./terms.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Capsule} Capsule */
/**
 * @callback Ask   Asks the host until the capsule holds a tensor; rejects with a line for the user.
 * @param {State} state
 * @param {Capsule} capsule
 * @param {object} request
 * @param {string} tensor
 * @returns {Promise<void>}
 */
/** @typedef {"direct" | "silenced"} Kind */
/** @typedef {{layer: number, head: number, cell: HTMLButtonElement}} Cell */

/** @type {Record<Kind, {title: string, words: string, label: string, waiting: string}>} */
const KINDS = {
  direct: {
    title: "What it gives directly",
    words: "its own term in the logit",
    label: "Direct part of each layer and head",
    waiting: "Computing what each head gives directly ...",
  },
  silenced: {
    title: "What is lost without it",
    words: "the fall of the logit when it is silenced",
    label: "Loss without each layer and head",
    waiting: "Silencing each head in turn ...",
  },
};

/** @type {Record<string, [number, number]>} */
const MOVES = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/**
 * A number with its sign, as short as it can be read.
 * @param {number} value
 */
function signedWords(value) {
  const size = Math.abs(value);
  if (!size) return "0";
  const words = size >= 9.95 ? size.toFixed(1) : size >= 0.0995 ? size.toFixed(2) : Number(size.toPrecision(2));
  return `${value < 0 ? "−" : "+"}${words}`;
}

/**
 * @param {Kind} kind
 * @param {Cell} cell   that with the largest value
 * @param {number} value
 * @param {string} name   of the class
 */
function bestWords(kind, { layer, head }, value, name) {
  if (kind === "direct") return `Head ${head} of layer ${layer} gives most to ${name}: ${signedWords(value)}.`;
  if (value <= 0) return `Silencing any one head costs ${name} nothing.`;
  return `Without head ${head} of layer ${layer}, ${name} loses most: ${signedWords(value).slice(1)}.`;
}

/**
 * A table of layers and heads, whose cells lead to their maps.
 * @param {Viewer} viewer
 * @param {Kind} kind
 */
function tableOf(viewer, kind) {
  const { title, words, label, waiting } = KINDS[kind];
  const grid = element("div", { class: "va-table", role: "grid", "aria-label": label });
  const scroll = element("div", { class: "va-table-scroll", hidden: true }, grid);
  const low = element("span", {});
  const high = element("span", {});
  const bar = element(
    "div",
    { class: "va-table-bar", hidden: true },
    low,
    element("i", { "aria-hidden": "true" }),
    high,
  );
  const line = element("p", { class: "va-table-line", role: "status" });
  const node = element(
    "figure",
    { class: "va-table-frame" },
    element("figcaption", {}, term(kind, title), element("span", {}, ` ${words}`)),
    scroll,
    bar,
    line,
  );
  /** @type {Cell[]} */
  let cells = [];
  /** @type {Cell | undefined} */
  let entry; // the cell that the tabulator reaches

  /** @param {Cell | undefined} cell */
  const enter = (cell) => {
    if (entry) entry.cell.tabIndex = -1;
    entry = cell ?? cells[0];
    if (entry) entry.cell.tabIndex = 0;
  };

  /** @param {Cell} cell */
  const go = ({ layer, head }) => viewer.store.change({ layer, head });

  grid.addEventListener("keydown", (event) => {
    const from = cells.find(({ cell }) => cell === event.target);
    if (!from || !(event.key in MOVES)) return;
    event.preventDefault();
    const [right, down] = MOVES[event.key];
    const next = cells.find(({ layer, head }) => layer === from.layer + right && head === from.head + down);
    if (!next) return;
    enter(next);
    next.cell.focus();
    go(next);
  });

  return {
    element: node,
    /** @param {string} text   why there is no table; "" while it is on its way */
    rest(text) {
      scroll.hidden = bar.hidden = true;
      cells = [];
      setText(line, text || waiting);
    },
    /**
     * @param {Capsule} capsule
     * @param {Float32Array} values   (layers, heads), NaN where a layer has fewer heads
     * @param {string} name   of the class
     */
    fill(capsule, values, name) {
      const layers = capsule.numLayers;
      const heads = values.length / layers;
      const sizes = [...values].filter((value) => !Number.isNaN(value)).map(Math.abs);
      const most = Math.max(...sizes) || 1;
      cells = [];
      /**
       * @param {number} layer
       * @param {number} head
       */
      const cellOf = (layer, head) => {
        const value = values[layer * heads + head];
        if (Number.isNaN(value)) return element("span", { role: "gridcell" });
        const text = `layer ${layer}, head ${head}: ${signedWords(value)}`;
        const cell = element("button", {
          type: "button",
          role: "gridcell",
          "aria-label": text,
          "aria-selected": "false",
          title: text,
          tabindex: -1,
          "data-sign": value < 0 ? "minus" : "plus",
          onclick: () => go({ layer, head, cell }),
        });
        cell.style.setProperty("--va-share", `${((100 * Math.abs(value)) / most).toFixed(1)}%`);
        cells.push({ layer, head, cell });
        return cell;
      };
      const columns = [...Array(layers).keys()].map((layer) =>
        element("span", { role: "columnheader" }, String(layer)),
      );
      grid.style.setProperty("--va-columns", String(layers));
      node.style.setProperty("--va-columns", String(layers));
      grid.replaceChildren(
        element(
          "div",
          { role: "row" },
          element("span", { role: "columnheader", class: "va-corner" }, "layer"),
          ...columns,
        ),
        ...[...Array(heads).keys()].map((head) =>
          element(
            "div",
            { role: "row" },
            element("span", { role: "rowheader" }, element("span", { class: "va-wide" }, "head "), String(head)),
            ...[...Array(layers).keys()].map((layer) => cellOf(layer, head)),
          ),
        ),
      );
      setText(low, `${signedWords(-most)} against`);
      setText(high, `${signedWords(most)} for`);
      scroll.hidden = bar.hidden = false;
      const best = cells.reduce((one, other) =>
        values[other.layer * heads + other.head] > values[one.layer * heads + one.head] ? other : one,
      );
      setText(line, bestWords(kind, best, values[best.layer * heads + best.head], name));
      enter(undefined);
    },
    /** @param {Now} now */
    mark({ settings }) {
      for (const { layer, head, cell } of cells) {
        cell.setAttribute("aria-selected", String(layer === settings.layer && head === settings.head));
      }
      const chosen = cells.find(({ layer, head }) => layer === settings.layer && head === settings.head);
      if (chosen && !grid.contains(document.activeElement)) enter(chosen);
    },
  };
}

/**
 * @param {Viewer} viewer
 * @param {Ask} ask
 */
export function tablesOf(viewer, ask) {
  const { host } = viewer;
  const title = element("p", { class: "va-tables-title" });
  const sums = element("p", { class: "va-help" });
  const help = element("p", { class: "va-help" });
  const tables = { direct: tableOf(viewer, "direct"), silenced: tableOf(viewer, "silenced") };
  const kinds = /** @type {Kind[]} */ (Object.keys(tables));
  const frames = element("div", { class: "va-table-frames" }, ...kinds.map((kind) => tables[kind].element));
  const node = element("div", { class: "va-tables" }, title, help, frames, sums);
  help.append(
    ...withTerms(
      "A positive number speaks for the class. A cell leads to the map of its layer and head; the class is chosen in the model’s answer.",
    ),
  );
  let turn = 0;

  /** @param {Now} now */
  const show = async (now) => {
    turn += 1;
    const own = turn;
    const { capsule, state } = now;
    const target = shownClass(now);
    frames.hidden = help.hidden = target === null;
    setText(sums, "");
    if (target === null) {
      setText(title, "This model has no classifier, so there is no answer that heads could have a part in.");
      return;
    }
    const name = capsule.facts.model.classes[target];
    title.replaceChildren("Each head’s part in the ", term("logit", "logit"), ` of ${name}`);
    for (const kind of kinds) {
      const tensor = `heads/${target}/${kind}`;
      const refused = capsule.facts.answers?.[`no_${kind}`] ?? "";
      try {
        if (refused) throw new Error(refused);
        if (!capsule.has(tensor)) {
          if (host.closed) throw new Error(`The table of ${name} is ${host.without}.`);
          tables[kind].rest("");
          await ask(state, capsule, { need: kind, target }, tensor);
        }
        if (own !== turn || viewer.signal.aborted) return;
        tables[kind].fill(capsule, capsule.floats(tensor), name);
        tables[kind].mark(viewer.now() ?? now);
        if (kind === "direct") writeSums(capsule, target);
      } catch (error) {
        if (own !== turn || viewer.signal.aborted) return;
        tables[kind].rest(error instanceof Error ? error.message : String(error));
      }
    }
  };

  /**
   * @param {Capsule} capsule
   * @param {number} target
   */
  const writeSums = (capsule, target) => {
    const [start, biases, logit] = capsule.floats(`heads/${target}/sums`);
    /** @param {string} part */
    const total = (part) =>
      capsule.floats(`heads/${target}/${part}`).reduce((sum, one) => sum + (Number.isNaN(one) ? 0 : one), 0);
    const [heads, mlps] = [total("direct"), total("mlps")].map(signedWords);
    sums.replaceChildren(
      ...withTerms(
        `Directly, all heads give ${heads}, the MLPs ${mlps}, what enters the first layer ${signedWords(start)}, biases ${signedWords(biases)}: together the logit, ${signedWords(logit)}, which contributions divide among tokens instead.`,
      ),
    );
  };

  const opened = () => {
    const now = viewer.now();
    if (now && viewer.opened() === "heads") show(now);
  };
  viewer.onOpen(opened);

  return {
    element: node,
    /** @param {Now} now */
    update(now) {
      if (viewer.opened() !== "heads") return;
      const { changed } = now;
      if (["capsule", "target", "source"].some((name) => changed.has(name))) show(now);
      else if (changed.has("layer") || changed.has("head")) for (const kind of kinds) tables[kind].mark(now);
    },
  };
}
