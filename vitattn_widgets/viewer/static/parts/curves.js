// @ts-check
// The curves of a check: the probability of the class as patches are taken away or put back, in several orders.

import { element, shape } from "./dom.js";
import { term } from "./terms.js";

/**
 * @typedef {Object} CheckFacts   The answer of `MapCheck.as_json`.
 * @property {string} class_name
 * @property {number} probability
 * @property {number[]} removed
 * @property {Record<"deletion" | "insertion", Record<string, number[]>>} [curves]
 * @property {Record<string, number[]>} deletion     by order
 * @property {Record<string, number[]>} insertion
 * @property {Record<Test, number[]>} random_low     of all random orders at each point
 * @property {Record<Test, number[]>} random_high
 * @property {Record<Test, Record<string, number>>} areas
 * @property {Record<Test, [number, number]>} intervals   smallest and largest area of the random orders
 * @property {number} layer
 * @property {number[]} silenced
 * @property {string} verdict
 * @property {string[]} sentences
 */
/** @typedef {"deletion" | "insertion"} Test */

const CHART_WIDTH = 330;
const CHART_HEIGHT = 190;
const FRAME = { left: 38, right: 8, top: 10, bottom: 34 };

/** @type {Record<string, string>} */
const ORDERS = { map: "this map", random: "random orders", centre: "from the centre", edge: "from the edge" };

/** @type {Record<Test, {title: string, axis: string, better: string, word: string}>} */
const TESTS = {
  deletion: { title: "Patches removed", axis: "patches removed", better: "lower is better", word: "removed" },
  insertion: { title: "Patches restored", axis: "patches restored", better: "higher is better", word: "restored" },
};

/** @param {number} share */
const across = (share) => FRAME.left + share * (CHART_WIDTH - FRAME.left - FRAME.right);
/** @param {number} share */
const upward = (share) => CHART_HEIGHT - FRAME.bottom - share * (CHART_HEIGHT - FRAME.top - FRAME.bottom);

/**
 * @param {CheckFacts} facts
 * @param {Test} test
 */
function chartOf(facts, test) {
  const { removed, random_low: low, random_high: high } = facts;
  const top = Math.min(1, Math.ceil(10 * Math.max(0.1, ...Object.values(facts[test]).flat(), ...high[test])) / 10);
  /** @param {number[]} curve */
  const points = (curve) =>
    curve.map((value, place) => `${across(removed[place]).toFixed(1)} ${upward(value / top).toFixed(1)}`);
  const svg = shape("svg", {
    viewBox: `0 0 ${CHART_WIDTH} ${CHART_HEIGHT}`,
    class: "va-chart",
    role: "img",
    "aria-label": `Probability of ${facts.class_name} as patches are ${TESTS[test].word}, in the order of this map, at random, from the centre and from the edge; the table below has the areas`,
  });
  for (const share of [0, 0.5, 1]) {
    svg.append(
      shape("line", { class: "va-grid", x1: across(0), x2: across(1), y1: upward(share), y2: upward(share) }),
      shape(
        "text",
        { x: FRAME.left - 6, y: upward(share) + 3.5, "text-anchor": "end" },
        `${Math.round(100 * share * top)}%`,
      ),
      shape(
        "text",
        {
          x: across(share),
          y: CHART_HEIGHT - FRAME.bottom + 15,
          "text-anchor": share === 1 ? "end" : share ? "middle" : "start",
        },
        `${100 * share}%`,
      ),
    );
  }
  svg.append(
    shape("text", { x: across(0.5), y: CHART_HEIGHT - 4, "text-anchor": "middle", class: "va-axis" }, TESTS[test].axis),
  );
  svg.append(
    shape("path", {
      class: "va-band",
      d: `M${points(low[test]).join("L")}L${points(high[test])
        .reverse()
        .map((point, place) => (place ? point : point))
        .join("L")}Z`,
    }),
  );
  for (const order of ["random", "edge", "centre", "map"]) {
    svg.append(shape("path", { class: `va-curve va-curve-${order}`, d: `M${points(facts[test][order]).join("L")}` }));
  }
  return svg;
}

/**
 * @param {CheckFacts} facts
 * @returns {HTMLElement} both charts, and a table of areas that is their legend too
 */
export function curvesOf(facts) {
  const tests = /** @type {Test[]} */ (Object.keys(TESTS));
  const charts = tests.map((test) =>
    element(
      "figure",
      { class: "va-chart-frame" },
      element("figcaption", {}, term(test, TESTS[test].title), element("span", {}, ` ${TESTS[test].better}`)),
      chartOf(facts, test),
    ),
  );
  /**
   * @param {Test} test
   * @param {string} order
   */
  const area = (test, order) => {
    if (order !== "random") return facts.areas[test][order].toFixed(2);
    const [low, high] = facts.intervals[test].map((value) => value.toFixed(2));
    return low === high ? low : `${low} to ${high}`;
  };
  const head = element(
    "tr",
    {},
    element("th", { scope: "col" }, "order of the patches"),
    ...tests.map((test) => element("th", { scope: "col" }, `area, ${TESTS[test].word}`)),
  );
  const lines = Object.entries(ORDERS).map(([order, words]) => {
    const swatch = shape("svg", { viewBox: "0 0 28 10", class: "va-swatch", "aria-hidden": "true" });
    if (order === "random") swatch.append(shape("path", { class: "va-band", d: "M0 0H28V10H0Z" }));
    swatch.append(shape("path", { class: `va-curve va-curve-${order}`, d: "M0 5H28" }));
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, swatch, words),
      ...tests.map((test) => element("td", {}, area(test, order))),
    );
  });
  return element(
    "div",
    { class: "va-curves" },
    element("div", { class: "va-charts" }, ...charts),
    element("table", { class: "va-areas" }, element("thead", {}, head), element("tbody", {}, ...lines)),
  );
}
