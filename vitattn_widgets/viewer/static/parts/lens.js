// @ts-check
// Layer by layer: what the classifier would say after each layer, as a small chart below the layers' slider.

import { shownClass } from "./answer.js";
import { button, element, setText, shape } from "./dom.js";
import { percentWords } from "./search.js";
import { term, withTerms } from "./terms.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./types.js").Capsule} Capsule */

const DRAWN = 4; // curves at most

/** @param {number} target */
const tensorOf = (target) => `answers/${target}`;

/**
 * The classes whose curves are drawn, the shown one first.
 * @param {Capsule} capsule
 * @param {number} own
 */
function drawnClasses(capsule, own) {
  const listed = [own, ...capsule.facts.answers.classes.filter((one) => one !== own)];
  return listed.filter((one) => capsule.has(tensorOf(one))).slice(0, DRAWN);
}

/**
 * Layers in a row after which the same class leads.
 * @param {number[]} leaders   of each layer; -1 where nothing can be read yet
 * @returns {{first: number, count: number, target: number}[]}
 */
function runsOf(leaders) {
  /** @type {{first: number, count: number, target: number}[]} */
  const runs = [];
  leaders.forEach((target, layer) => {
    const last = runs.at(-1);
    if (last?.target === target) last.count += 1;
    else runs.push({ first: layer, count: 1, target });
  });
  return runs;
}

/**
 * @param {Viewer} viewer
 * @param {import("./tables.js").Ask} ask
 */
export function lensOf(viewer, ask) {
  const { store, host } = viewer;
  const sentence = element("p", { class: "va-lens-sentence" });
  const plot = element("div", { class: "va-lens-plot" });
  const strip = element("div", { class: "va-lens-strip", "aria-hidden": "true" });
  const here = element("i", { class: "va-lens-here" });
  const field = element("div", { class: "va-lens-field", onclick: (event) => go(event) }, plot, strip, here);
  const legend = element("ul", { class: "va-lens-legend" });
  const axis = element(
    "div",
    { class: "va-lens-axis", "aria-hidden": "true" },
    element("span", {}),
    element("span", {}, "0"),
  );
  const more = button({
    text: "Which heads made this answer?",
    class: "va-plain va-lens-more",
    onclick: () => viewer.open("heads"),
  });
  const node = element(
    "section",
    { class: "va-lens", hidden: true },
    element("div", { class: "va-lens-head" }, element("h2", {}, term("lens")), more),
    element("div", { class: "va-lens-body" }, axis, field),
    legend,
    sentence,
  );
  /** @type {Now | null} */
  let now = null;
  let built = "";

  /**
   * The layer under the pointer; with the keyboard, the slider does the same.
   * @param {MouseEvent} event
   */
  const go = (event) => {
    if (!now) return;
    const { left, width } = field.getBoundingClientRect();
    const { numLayers } = now.capsule;
    const layer = Math.floor((numLayers * (event.clientX - left)) / width);
    store.change({ layer: Math.max(0, Math.min(numLayers - 1, layer)) });
  };

  /**
   * @param {Capsule} capsule
   * @param {number} own
   */
  const supply = async (capsule, own) => {
    const current = now;
    if (host.closed || !current || capsule.has(tensorOf(own))) return;
    try {
      await ask(current.state, capsule, { need: "answers", target: own }, tensorOf(own));
    } catch {
      return; // the chart shows the other classes; a map of this one says what is wrong
    }
    if (!viewer.signal.aborted && now?.capsule === capsule) draw();
  };

  const draw = () => {
    if (!now) return;
    const { capsule } = now;
    const { answers } = capsule.facts;
    const own = shownClass(now);
    node.hidden = !answers || Boolean(answers.unavailable) || own === null || capsule.numLayers < 2;
    if (node.hidden || own === null) return;
    supply(capsule, own);
    const drawn = drawnClasses(capsule, own);
    const wanted = JSON.stringify([drawn, answers.leaders, drawn.map((one) => [...capsule.floats(tensorOf(one))])]);
    if (wanted !== built) {
      built = wanted;
      build(capsule, drawn);
    }
    mark();
  };

  /**
   * @param {Capsule} capsule
   * @param {number[]} drawn
   */
  const build = (capsule, drawn) => {
    const { answers, model } = capsule.facts;
    const layers = capsule.numLayers;
    const svg = shape("svg", {
      viewBox: `0 0 ${layers} 1`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `Probability of ${drawn.map((one) => model.classes[one]).join(", ")} after each layer. ${answers.sentence}`,
    });
    const values = drawn.flatMap((one) => [...capsule.floats(tensorOf(one))].slice(answers.first));
    const top = Math.ceil(10 * Math.max(0.1, ...values) - 1e-6) / 10; // the axis ends at the next tenth
    setText(/** @type {Element} */ (axis.firstElementChild), `${Math.round(100 * top)}%`);
    for (const share of [0, 0.5, 1]) {
      svg.append(shape("line", { class: "va-grid", x1: 0, x2: layers, y1: share, y2: share }));
    }
    // the shown class last, on top of the others
    for (const [place, target] of [...drawn.entries()].reverse()) {
      const points = [...capsule.floats(tensorOf(target))]
        .map((value, layer) => `${layer + 0.5} ${(1 - value / top).toFixed(4)}`)
        .slice(answers.first);
      svg.append(shape("path", { class: `va-lens-curve va-lens-curve-${place}`, d: `M${points.join("L")}` }));
    }
    plot.replaceChildren(svg);
    strip.style.gridTemplateColumns = `repeat(${layers}, minmax(0, 1fr))`;
    strip.replaceChildren(
      ...runsOf(answers.leaders).map(({ first, count, target }) => {
        const name = target < 0 ? "" : model.classes[target];
        const from = count > 1 ? `After layers ${first} to ${first + count - 1}` : `After layer ${first}`;
        const run = element("span", { title: name && `${from} it would say ${name}` }, name);
        run.style.gridColumn = `span ${count}`;
        run.dataset.first = String(first);
        run.dataset.last = String(first + count - 1);
        const place = drawn.indexOf(target);
        if (place >= 0) run.classList.add(`va-lens-run-${place}`);
        return run;
      }),
    );
    legend.replaceChildren(
      ...drawn.map((target, place) => {
        const swatch = shape("svg", { viewBox: "0 0 28 10", class: "va-swatch", "aria-hidden": "true" });
        swatch.append(shape("path", { class: `va-lens-curve va-lens-curve-${place}`, d: "M0 5H28" }));
        const value = element("span", { class: "va-percent" });
        value.dataset.class = String(target);
        return element("li", {}, swatch, element("span", { class: "va-class-name" }, model.classes[target]), value);
      }),
    );
    sentence.replaceChildren(...withTerms(answers.sentence));
  };

  const mark = () => {
    if (!now) return;
    const { layer } = now.settings;
    const { capsule } = now;
    here.style.left = `${(100 * (layer + 0.5)) / capsule.numLayers}%`;
    for (const value of legend.querySelectorAll(".va-percent")) {
      const probability = capsule.floats(tensorOf(Number(/** @type {HTMLElement} */ (value).dataset.class)))[layer];
      setText(value, Number.isNaN(probability) ? "–" : percentWords(probability));
    }
    for (const run of strip.children) {
      const { first, last } = /** @type {HTMLElement} */ (run).dataset;
      run.classList.toggle("va-now", Number(first) <= layer && layer <= Number(last));
    }
  };

  return {
    element: node,
    /** @param {Now} next */
    update(next) {
      now = next;
      const { changed } = next;
      if (["capsule", "target", "source"].some((name) => changed.has(name))) draw();
      else if (changed.has("layer") && !node.hidden) mark();
    },
  };
}
