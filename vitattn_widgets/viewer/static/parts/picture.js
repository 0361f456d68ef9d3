// @ts-check
// The picture: the photo at the screen's resolution, the map above it, marks, and what hands and keys do with it.

import { reachOf } from "../engine/partitions.js";
import { timesAverage } from "../engine/render.js";
import { element, icon, setText } from "./dom.js";
import { timesWords } from "./legend.js";
import { mapCell, marksOf, patchAt, patchPlace, pointGrid, reachWords, sinkWords, strongestTargets } from "./marks.js";
import { gridPlace, groundSize, paintGreyView, paintGround, putLayer, viewPlace } from "./paint.js";
import { sameValue } from "./store.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./marks.js").Patch} Patch */

const HOLD_MS = 380; // a press longer than this shows the bare photo
const SLACK = 5; // pixels that a press may move
const TOP_SHARE = 0.16; // of the picture's height, where chips lie over the patches
const LOW_SHARE = 0.6; // a query below this share of the picture lies under the words at its bottom
const FAINT_SHARE = 0.5; // less than this share of the attention on the patches is worth a badge

/** @type {Record<string, Patch>} */
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** One ground with its map; an arrangement has one or two. */
function paneOf() {
  const ground = element("canvas", { class: "va-ground", "aria-hidden": "true" });
  const map = element("canvas", { class: "va-map", "aria-hidden": "true" });
  const marks = marksOf();
  return { element: element("div", { class: "va-pane" }, ground, map, marks.element), ground, map, marks };
}

/**
 * @param {Viewer} viewer
 * @param {{chips: HTMLElement, progress: HTMLElement, notes: HTMLElement}} over   what lies above the picture
 */
export function pictureOf(viewer, over) {
  const panes = [paneOf(), paneOf()];
  const [first, second] = panes;
  const badge = element("div", { class: "va-badge", hidden: true });
  const sinks = element("div", { class: "va-sinks", hidden: true }, element("i"), element("span"));
  const reaching = element("div", { class: "va-reach", hidden: true }, element("i"), element("span"));
  const value = element("div", { class: "va-hover", "aria-hidden": "true", hidden: true });
  const spoken = element("div", { class: "va-hidden", "aria-live": "polite" });
  const stage = element(
    "div",
    { class: "va-stage", tabindex: 0, role: "application", "aria-roledescription": "picture of patches" },
    ...panes.map((pane) => pane.element),
    value,
  );
  const bare = element(
    "button",
    {
      type: "button",
      class: "va-button va-plain va-bare-button",
      "aria-label": "Hold to see the bare photo",
      title: "Hold to see the bare photo (on the picture: hold the space bar)",
    },
    icon("eye"),
  );
  const upper = element("div", { class: "va-over va-upper" }, over.chips, badge);
  const lower = element("div", { class: "va-over va-lower" }, over.notes, reaching, sinks);
  const frame = element("div", { class: "va-sheet" }, stage, upper, lower, over.progress);
  const node = element("div", { class: "va-picture" }, frame, spoken);

  /** @type {Now | null} */
  let now = null;
  /** @type {Patch | null} */
  let pointed = null;
  /** @type {import("./paint.js").Place} */
  let view = { left: 0, top: 0, width: 1, height: 1 };
  /** @type {((patch: Patch | null) => void)[]} */
  const followers = [];

  /** @param {Now} shown @returns {import("./paint.js").Place} of the patches that can be pointed at */
  const cellsPlace = ({ capsule, settings }) => gridPlace(capsule, settings.layer, settings.on);

  const paintGrounds = () => {
    if (!now) return;
    const scale = window.devicePixelRatio || 1;
    for (const pane of panes) {
      const [width, height] = [pane.element.clientWidth * scale, pane.element.clientHeight * scale].map(Math.round);
      if (!width || !height) continue;
      if (pane.ground.width !== width || pane.ground.height !== height)
        [pane.ground.width, pane.ground.height] = [width, height];
      const context = pane.ground.getContext("2d");
      if (!context) continue;
      paintGround(context, now.capsule, now.photo, now.settings.on);
      if (now.drawn.signed && pane.map.checkVisibility()) paintGreyView(context, now.capsule, now.settings.on);
    }
  };

  const place = () => {
    if (!now) return;
    const { settings, state, capsule } = now;
    const [width, height] = groundSize(capsule, settings.on);
    const twin = state.arrangement === "side by side";
    view = viewPlace(capsule, settings.on);
    second.element.hidden = !twin;
    first.map.hidden = twin;
    node.style.setProperty("--va-ratio", String(((twin ? 2 : 1) * width) / height));
    for (const { map } of panes) {
      map.style.left = `${100 * view.left}%`;
      map.style.top = `${100 * view.top}%`;
      map.style.width = `${100 * view.width}%`;
      map.style.height = `${100 * view.height}%`;
    }
    paintGrounds();
  };

  const readPointed = () => {
    if (!now || !pointed) return "";
    const { layer, source } = now.prepared.raw.resolved;
    const cell = mapCell(now.capsule, layer, pointed);
    const times = timesAverage(now.prepared, ...cell, now.capsule.facts.layers[layer].grid);
    if (!source.signed) return `${timesWords(times)} times the average patch`;
    return `${timesWords(Math.abs(times))} times the average patch, ${times < 0 ? "against" : "for"} the class`;
  };

  const showPointed = () => {
    const spot =
      now && pointed ? patchPlace(pointed, cellsPlace(now), pointGrid(now.capsule, now.settings.layer)) : null;
    for (const { marks } of panes) marks.point(spot);
    value.hidden = !spot;
    upper.classList.toggle("va-faint", spot !== null && spot.top < TOP_SHARE);
    for (const follow of followers) follow(spot ? pointed : null);
    if (!spot) return;
    setText(value, readPointed());
    const across = second.element.hidden ? 1 : 2;
    value.style.left = `${(100 * Math.min(Math.max(spot.left + spot.width / 2, 0.2), 0.8)) / across}%`;
    const below = spot.top < TOP_SHARE;
    value.classList.toggle("va-below", below);
    value.style.top = `${100 * (below ? spot.top + spot.height : spot.top)}%`;
  };

  /** @param {Patch | null} patch */
  const point = (patch) => {
    if (sameValue(patch, pointed)) return;
    pointed = patch;
    showPointed();
  };

  /** @param {PointerEvent} event */
  const patchOf = (event) => {
    if (!now) return null;
    const pane = second.element.contains(/** @type {Node} */ (event.target)) ? second : first;
    const bounds = pane.element.getBoundingClientRect();
    const [x, y] = [(event.clientX - bounds.left) / bounds.width, (event.clientY - bounds.top) / bounds.height];
    return patchAt(x, y, cellsPlace(now), pointGrid(now.capsule, now.settings.layer));
  };

  /** @param {Patch | null} patch */
  const choose = (patch) => {
    if (!now || !patch) return;
    const layer = now.capsule.facts.layers[now.settings.layer];
    if (layer.query_patches) viewer.store.change({ query: patch });
    else
      viewer.say({
        kind: "note",
        text: `In ${layer.words} patches do not look at anything: only ${layer.queries.join(", ")} can be the query.`,
        lasts: 6000,
      });
  };

  /** @param {boolean} on */
  const showBare = (on) => {
    node.classList.toggle("va-bare", on);
    bare.setAttribute("aria-pressed", String(on));
  };

  /** @type {{x: number, y: number, from: Patch | null, moved: boolean, held: boolean, timer: ReturnType<typeof setTimeout>} | null} */
  let press = null;
  const release = () => {
    if (press) clearTimeout(press.timer);
    press = null;
    showBare(false);
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    stage.setPointerCapture(event.pointerId);
    const timer = setTimeout(() => {
      if (!press || press.moved) return;
      press.held = true;
      showBare(true);
    }, HOLD_MS);
    press = { x: event.clientX, y: event.clientY, from: patchOf(event), moved: false, held: false, timer };
  });
  stage.addEventListener("pointermove", (event) => {
    if (press && !press.moved && !press.held) {
      const [across, down] = [event.clientX - press.x, event.clientY - press.y].map(Math.abs);
      if (Math.max(across, down) > SLACK) {
        // the last moves before the browser takes a swipe for scrolling
        if (event.pointerType === "touch" && down >= across) return release();
        press.moved = true;
      }
    }
    const patch = patchOf(event);
    point(patch);
    if (!press || press.held) return;
    if (press.moved && patch && !sameValue(patch, viewer.store.get().query)) choose(patch);
  });
  stage.addEventListener("pointerup", (event) => {
    const click = press && !press.moved && !press.held;
    release();
    if (!click) return;
    const patch = patchOf(event);
    if (patch && sameValue(patch, viewer.store.get().query)) viewer.store.change({ query: null });
    else choose(patch);
  });
  stage.addEventListener("pointercancel", release);
  stage.addEventListener("pointerleave", () => point(null));
  stage.addEventListener("contextmenu", (event) => press && event.preventDefault()); // a long press on a phone

  stage.addEventListener("keydown", (event) => {
    if (!now || event.ctrlKey || event.metaKey || event.altKey) return;
    const [rows, cols] = pointGrid(now.capsule, now.settings.layer);
    const { query } = now.settings;
    if (event.key in STEPS) {
      const start = pointed ?? (Array.isArray(query) ? query : null);
      const [down, right] = start ? STEPS[event.key] : [0, 0];
      const [row, col] = start ?? [rows >> 1, cols >> 1];
      point([Math.min(Math.max(row + down, 0), rows - 1), Math.min(Math.max(col + right, 0), cols - 1)]);
      const [there, across] = /** @type {Patch} */ (pointed);
      setText(spoken, `Row ${there}, column ${across}: ${readPointed()}`);
    } else if (event.key === "Enter") choose(pointed);
    else if (event.key === "Escape") {
      point(null);
      viewer.store.change({ query: null });
    } else if (event.key === " ") showBare(true);
    else return;
    event.preventDefault();
  });
  stage.addEventListener("keyup", (event) => event.key === " " && showBare(false));
  stage.addEventListener("blur", () => {
    point(null);
    showBare(false);
  });

  bare.addEventListener("pointerdown", (event) => {
    bare.setPointerCapture(event.pointerId);
    showBare(true);
  });
  for (const end of ["pointerup", "pointercancel", "blur", "keyup"]) bare.addEventListener(end, () => showBare(false));
  bare.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && showBare(true));
  bare.addEventListener("contextmenu", (event) => event.preventDefault());

  const resized = new ResizeObserver(paintGrounds);
  resized.observe(stage);
  viewer.signal.addEventListener("abort", () => resized.disconnect());

  /**
   * @param {Now} next
   * @param {Uint8Array | null} reached
   */
  const showWords = (next, reached) => {
    const { grid } = next.capsule.facts.layers[next.settings.layer];
    const seen = reachWords(reached, grid);
    for (const [chip, words] of /** @type {const} */ ([
      [sinks, sinkWords(next)],
      [reaching, seen],
    ])) {
      chip.hidden = !words;
      setText(/** @type {Element} */ (chip.lastElementChild), words);
    }
    const { query } = next.settings;
    const low =
      reached && Array.isArray(query) && query[0] > LOW_SHARE * pointGrid(next.capsule, next.settings.layer)[0];
    lower.classList.toggle("va-raised", Boolean(low)); // off the window
    const share = 1 - next.prepared.raw.share;
    badge.hidden = share >= FAINT_SHARE;
    const what = next.prepared.raw.resolved.source.plain ? "attention" : "map";
    setText(badge, `${Math.round(100 * share)}% of the ${what} reaches patches`);
    const keys =
      "Arrow keys move from patch to patch, Enter makes one the query, Escape returns to the default query, Space shows the bare photo.";
    stage.setAttribute("aria-label", `${next.prepared.sentence} ${seen && `${seen}. `}${keys}`);
  };

  return {
    element: node,
    bare,
    /** @param {(patch: Patch | null) => void} follow   hears of the patch under the pointer */
    onPoint: (follow) => followers.push(follow),
    /** @param {Now} next */
    update(next) {
      const { changed } = next;
      const regrounded = now && now.drawn.signed !== next.drawn.signed;
      now = next;
      if (["capsule", "on", "arrangement"].some((name) => changed.has(name))) place();
      else if (regrounded) paintGrounds();
      // the patches of another layer may be others
      if (changed.has("layer") && next.capsule.facts.layers[next.settings.layer].staged) point(null);
      const plain = !(next.settings.bilinear || next.settings.median || next.settings.gaussian);
      for (const { map } of panes) {
        map.classList.toggle("va-squares", plain);
        if (!map.hidden && !map.parentElement?.hidden) putLayer(map, next.drawn);
      }
      const [width, height] = groundSize(next.capsule, next.settings.on);
      const targets = Array.isArray(next.prepared.raw.resolved.query) ? strongestTargets(next) : [];
      const reached = reachOf(next.capsule, next.prepared.raw.resolved);
      for (const { marks } of panes) marks.update(next, view, width / height, targets, reached);
      if (pointed) showPointed();
      showWords(next, reached);
    },
  };
}
