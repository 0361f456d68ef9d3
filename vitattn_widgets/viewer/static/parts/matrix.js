// @ts-check
// The matrix of layers and heads: a small map of each, and the way to go there.

import { lateLayers } from "../engine/attribution.js";
import { renderOverview } from "../engine/overview.js";
import { element, setText } from "./dom.js";
import { fitHeads, gapsOf, headsOf, stageNote, stageOf, stagesOf } from "./stages.js";
import { withTerms } from "./terms.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {{layer: number, head: number | null, cell: HTMLButtonElement}} Cell */

const GAP = 3; // between cells, in pixels
const LARGEST = 46; // side of a cell
const HIGHEST = 400; // of all rows
const HIGHEST_STAGED = 520; // last stages have many heads
const TOUCHED = 44; // smallest cell on a narrow screen, which then scrolls sideways
const PATIENCE_MS = 90; // the cells follow after a pause, so that the picture comes first
const FLAT = 2.4; // as many times more layers than rows: the matrix gets a line of its own

/** @type {Record<string, [number, number]>} */
const MOVES = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/** @param {number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** @param {Viewer} viewer */
export function matrixOf(viewer) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const here = element("i", { class: "va-here" });
  const span = element("i", { class: "va-span", hidden: true });
  const grid = element("div", { class: "va-cells", role: "grid", "aria-label": "Layers and heads" });
  const plane = element("div", { class: "va-plane" }, canvas, span, grid, here);
  const scroll = element("div", { class: "va-scroll" }, plane);
  const note = element("p", { class: "va-note-line" });
  const node = element(
    "section",
    { class: "va-matrix" },
    element("h2", {}, ...withTerms("Every layer and head")),
    scroll,
    note,
  );
  /** @type {Cell[]} */
  let cells = [];
  let built = "";
  /** @type {Now | null} */
  let now = null;
  let size = { width: 0, height: 0, rows: 0, layers: 0 };
  /** @type {import("./stages.js").Stage[]} */
  let stages = [];
  /** @type {number[]} after each stage but the last, in pixels */
  let gaps = [];
  /** @type {HTMLElement[]} */
  let stageHeads = [];
  let painted = "";
  let others = 0; // layers that show another query than the chosen one
  let scrolls = false; // read once: asking the page for it in each frame would cost a layout
  let scrollsDown = false;
  /** @type {HTMLButtonElement | undefined} */
  let chosen;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;

  /**
   * @param {number} layer
   * @param {number | null} head
   */
  const go = (layer, head) => viewer.store.change({ layer, head });

  /**
   * @param {number} layer
   * @param {number | null} head
   */
  const cellAt = (layer, head) => cells.find((one) => one.layer === layer && one.head === head);

  /** @param {number} layer @returns {number} the left edge of its column, in pixels */
  const leftOf = (layer) => layer * (size.width + GAP) + sum(gaps.slice(0, stageOf(stages, layer)));

  /** @param {number} layer @returns {string} its column among the gutter, the layers and the gaps between stages */
  const columnOf = (layer) => String(2 + layer + stageOf(stages, layer));

  /** @param {number[]} heads of each layer */
  const build = (heads) => {
    plane.classList.toggle("va-staged", stages.length > 1);
    const most = Math.max(...heads);
    /**
     * @param {number} layer
     * @param {number | null} head
     */
    const cellOf = (layer, head) => {
      const name = `layer ${layer}, ${head === null ? "all heads" : `head ${head}`}`;
      const cell = element("button", {
        type: "button",
        role: "gridcell",
        "aria-label": name,
        title: name,
        tabindex: -1,
        "aria-selected": "false",
        onclick: () => go(layer, head),
      });
      cell.style.gridColumn = columnOf(layer);
      cells.push({ layer, head, cell });
      return cell;
    };
    cells = [];
    chosen = undefined;
    const columns = heads.map((_, layer) => {
      const number = element("span", { role: "columnheader" }, String(layer));
      number.style.gridColumn = columnOf(layer);
      return number;
    });
    const lines = [null, ...Array(most).keys()].map((head) =>
      element(
        "div",
        { role: "row" },
        element(
          "span",
          { role: "rowheader" },
          element("span", { class: "va-wide" }, head === null ? "all heads" : "head "),
          head === null ? element("span", { class: "va-tight" }, "all") : String(head),
        ),
        ...heads.map((count, layer) =>
          head !== null && head >= count ? element("span", { role: "gridcell" }) : cellOf(layer, head),
        ),
      ),
    );
    stageHeads = headsOf(stages);
    const corner = element("span", { role: "columnheader" });
    const above = element("div", { role: "row", class: "va-stages" }, corner, ...stageHeads);
    grid.replaceChildren(
      ...(stages.length > 1 ? [above] : []),
      element(
        "div",
        { role: "row", class: "va-columns" },
        element("span", { role: "columnheader", class: "va-corner" }, "layer"),
        ...columns,
      ),
      ...lines,
    );
    size = { ...size, rows: 1 + most, layers: heads.length };
  };

  const widthOfAll = () => leftOf(size.layers - 1) + size.width;

  /** Fit the cells to the space; the picture of a grid of patches keeps its shape. */
  const measure = () => {
    if (!now || !size.layers || !scroll.clientWidth) return;
    const narrow = viewer.root.classList.contains("va-narrow");
    const [gridRows, gridCols] = now.capsule.facts.model.grid;
    const shape = gridRows / gridCols;
    const gutter = narrow ? 34 : 68;
    viewer.root.classList.toggle("va-flat", size.layers >= FLAT * size.rows);
    const down = ((stages.length > 1 ? HIGHEST_STAGED : HIGHEST) / size.rows - GAP) / shape;
    let width = LARGEST;
    for (const _ of [1, 2]) {
      gaps = gapsOf(stages, width + GAP); // narrow columns take wider ones
      const across = (scroll.clientWidth - gutter - sum(gaps)) / size.layers - GAP;
      width = Math.floor(narrow ? Math.max(TOUCHED, across) : Math.max(12, Math.min(LARGEST, across, down)));
    }
    gaps = gapsOf(stages, width + GAP);
    size = { ...size, width, height: Math.max(10, Math.round(width * shape)) };
    const { style } = viewer.root; // the slider of the layers stands below their columns
    style.setProperty("--va-cell-width", `${size.width}px`);
    style.setProperty("--va-cell-height", `${size.height}px`);
    style.setProperty("--va-gutter", `${gutter}px`);
    style.setProperty("--va-across", `${widthOfAll()}px`);
    const tracks = stages.flatMap(({ count }, index) => {
      const own = `repeat(${count}, ${size.width}px)`;
      return index < gaps.length ? [own, `${gaps[index] - GAP}px`] : [own];
    });
    grid.style.setProperty("--va-tracks", tracks.join(" "));
    fitHeads(stageHeads, stages, size.width + GAP);
    scrolls = gutter + widthOfAll() + GAP > scroll.clientWidth;
    scrollsDown = scroll.scrollHeight > scroll.clientHeight + GAP;
    painted = "";
    paint();
    frame();
  };

  const paint = () => {
    if (!now || !size.width) return;
    const { settings, capsule } = now;
    const query = capsule.source(settings.source).no_query ? null : settings.query;
    const overview = renderOverview(capsule, { ...settings, query });
    const scale = window.devicePixelRatio || 1;
    const wanted = [
      now.state.picture,
      now.state.model,
      overview.queries.join(";"),
      now.settings.cmap,
      now.settings.sinks,
      size.width,
      scale,
    ].join();
    if (painted === wanted) return;
    painted = wanted;
    others = overview.others;
    writeNote();
    const sheet = new OffscreenCanvas(overview.width, overview.height);
    sheet
      .getContext("2d")
      ?.putImageData(new ImageData(/** @type {any} */ (overview.pixels), overview.width, overview.height), 0, 0);
    const [cellRows, cellCols] = overview.cell;
    const stepY = size.height + GAP;
    canvas.width = Math.round(widthOfAll() * scale);
    canvas.height = Math.round((size.rows * stepY - GAP) * scale);
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.scale(scale, scale);
    context.imageSmoothingQuality = "high";
    overview.heads.forEach((count, layer) => {
      for (let line = 0; line <= count; line += 1) {
        const [x, y] = [leftOf(layer), line * stepY];
        context.drawImage(sheet, layer * cellCols, line * cellRows, cellCols, cellRows, x, y, size.width, size.height);
      }
    });
  };

  const frame = () => {
    if (!now || !size.width) return;
    const { settings, capsule } = now;
    const source = capsule.source(settings.source);
    const head = source.no_head ? null : settings.head;
    const [left, stepY] = [leftOf(settings.layer), size.height + GAP];
    here.style.width = `${size.width}px`;
    here.style.height = `${source.no_head ? size.rows * stepY - GAP : size.height}px`;
    here.style.transform = `translate(${left}px, ${head === null ? 0 : (head + 1) * stepY}px)`;
    const cell = cellAt(settings.layer, head)?.cell;
    if (cell !== chosen) {
      chosen?.setAttribute("aria-selected", "false");
      if (chosen) chosen.tabIndex = -1;
      cell?.setAttribute("aria-selected", "true");
      if (cell) cell.tabIndex = 0;
      chosen = cell;
    }
    const first = source.span === "first to layer" ? 0 : lateLayers(capsule, settings.layer)[0];
    span.hidden = source.span === "layer";
    span.style.left = `calc(var(--va-gutter) + ${leftOf(first)}px)`;
    span.style.width = `${left + size.width - leftOf(first)}px`;
    writeNote();
    if (scrolls) {
      if (left < scroll.scrollLeft || left + 2 * (size.width + GAP) > scroll.scrollLeft + scroll.clientWidth) {
        scroll.scrollLeft = left - scroll.clientWidth / 2;
      }
    }
    if (scrollsDown && cell) {
      const above = cell.offsetTop - 2 * stepY; // the numbers of the layers stay over the cells
      const below = cell.offsetTop + 2 * stepY - scroll.clientHeight;
      if (scroll.scrollTop > above || scroll.scrollTop < below)
        scroll.scrollTop = cell.offsetTop - scroll.clientHeight / 2;
    }
  };

  const writeNote = () => {
    if (!now) return;
    const source = now.capsule.source(now.settings.source);
    const sentences = [
      others
        ? `${size.layers - others} of ${size.layers} layers show the chosen query, the others their usual one.`
        : "",
      source.plain ? "" : "All small maps are of attention.",
      source.span === "layer" ? "" : "Underlined: the layers that this map is computed from.",
      source.no_head ? `No single heads: ${source.no_head}.` : "",
      stageNote(stages, now.settings.layer),
    ];
    setText(note, sentences.filter(Boolean).join(" ") || "Each small map has a scale of its own.");
  };

  grid.addEventListener("keydown", (event) => {
    const from = cells.find((one) => one.cell === event.target);
    if (!from || !(event.key in MOVES)) return;
    event.preventDefault();
    const [right, down] = MOVES[event.key];
    const line = (from.head === null ? 0 : from.head + 1) + down;
    const next = cellAt(from.layer + right, line === 0 ? null : line - 1);
    if (!next) return;
    next.cell.focus();
    go(next.layer, next.head);
  });

  const resized = new ResizeObserver(measure);
  resized.observe(scroll);
  viewer.signal.addEventListener("abort", () => resized.disconnect());

  return {
    element: node,
    /** @param {Now} next */
    update(next) {
      now = next;
      const heads = next.capsule.facts.layers.map((layer) => layer.heads);
      const wanted = JSON.stringify([heads, next.capsule.facts.layers.map((layer) => layer.query_grid)]);
      if (wanted !== built) {
        built = wanted;
        stages = stagesOf(next.capsule.facts.layers);
        build(heads);
        measure();
      }
      const { changed } = next;
      if (["layer", "head", "source", "capsule"].some((name) => changed.has(name))) frame();
      if (changed.has("capsule") || changed.has("cmap")) paint();
      else if (["query", "layer", "sinks", "source"].some((name) => changed.has(name))) {
        clearTimeout(waiting);
        waiting = setTimeout(paint, PATIENCE_MS);
      }
    },
  };
}
