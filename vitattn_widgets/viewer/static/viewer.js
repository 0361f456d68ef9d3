// @ts-check
// The viewer: lays out the parts, keeps the settings, and draws. A change of settings is painted in the same frame.

import { missing } from "./engine/attribution.js";
import { drawView, prepareView } from "./engine/render.js";
import { fitSettings } from "./engine/resolve.js";
import { VIEW_FIELDS } from "./engine/settings.js";
import { aheadOf } from "./parts/ahead.js";
import { answerOf } from "./parts/answer.js";
import { capsulesOf } from "./parts/capsules.js";
import { checkOf } from "./parts/check.js";
import { chipsOf } from "./parts/chips.js";
import { expertOf, moreOf } from "./parts/choices.js";
import { comparisonOf } from "./parts/comparison.js";
import { element, setText, uniqueId } from "./parts/dom.js";
import { keepOf } from "./parts/keep.js";
import { headsOf, layersOf } from "./parts/layers.js";
import { drawersOf, layoutOf } from "./parts/layout.js";
import { legendOf } from "./parts/legend.js";
import { lensOf } from "./parts/lens.js";
import { matrixOf } from "./parts/matrix.js";
import { messagesOf } from "./parts/messages.js";
import { offerOf } from "./parts/offer.js";
import { photoOf } from "./parts/paint.js";
import { photosOf } from "./parts/photos.js";
import { pictureOf } from "./parts/picture.js";
import { questionOf, questionsOf } from "./parts/questions.js";
import { Store } from "./parts/store.js";
import { tablesOf } from "./parts/tables.js";
import { explanationsOf, withTerms } from "./parts/terms.js";
import { toolsOf } from "./parts/tools.js";

/** @typedef {import("./engine/capsule.js").Capsule} Capsule */
/** @typedef {import("./parts/types.js").Host} Host */
/** @typedef {import("./parts/types.js").Now} Now */
/** @typedef {import("./parts/types.js").Settings} Settings */
/** @typedef {import("./parts/types.js").State} State */
/** @typedef {import("./parts/types.js").Viewer} Viewer */
/** @typedef {import("./parts/paint.js").Photo} Photo */

/** @type {Record<string, string>} what is on its way, by the need of a request */
const PROGRESS_WORDS = {
  operands: "Getting what the patches look at",
  row: "Getting what this patch looks at",
  maps: "Computing this map",
  colors: "Getting the colours",
};

const LARGE_VIEW = 320 * 320; // pixels; larger views are drawn at half their size first, so that they follow the hand
const REFINE_MS = 80; // of quiet, until they are drawn in full

/** What a door need not set; the rest comes with the first capsule. */
const FIRST = { arrangement: "overlay", panels: [], panel_scale: "robust", difference: [], question: "" };

/**
 * @param {State} state
 * @returns {Settings} the settings of the map and its look, without the viewer's own
 */
function viewSettings(state) {
  return /** @type {Settings} */ (Object.fromEntries(VIEW_FIELDS.map((name) => [name, state[name]])));
}

/**
 * Put the viewer into an element.
 * @param {HTMLElement} root
 * @param {Host} host
 */
export function mount(root, host) {
  const ending = new AbortController();
  const { signal } = ending;
  const store = new Store(/** @type {State} */ ({ ...FIRST, ...host.read() }), host);
  const capsules = capsulesOf(host);
  const messages = messagesOf();
  /** @type {WeakMap<object, Photo>} */
  const photos = new WeakMap();
  /** @type {Now | null} */
  let now = null;

  const drawers = drawersOf();
  /** @type {Viewer} */
  const viewer = {
    id: uniqueId("viewer"),
    root,
    host,
    store,
    signal,
    now: () => now,
    capsule: () => now?.capsule ?? null,
    capsuleOf: capsules.capsuleOf,
    supply: capsules.supply,
    say: messages.say,
    open: drawers.open,
    opened: drawers.opened,
    onOpen: drawers.onOpen,
  };

  const chips = chipsOf(viewer);
  const picture = pictureOf(viewer, { chips: chips.element, progress: messages.progress, notes: messages.notes });
  const legend = legendOf(picture.bare);
  picture.onPoint(legend.point);
  const sentence = element("p", { class: "va-sentence" });
  const caption = element("p", { class: "va-caption" });
  const words = element(
    "div",
    { class: "va-words" },
    sentence,
    element("details", { class: "va-technical" }, element("summary", {}, "Technical caption"), caption),
  );
  const own = {
    photos: photosOf(viewer),
    tools: toolsOf(viewer),
    questions: questionsOf(viewer),
    picture,
    chips,
    legend,
    layers: layersOf(viewer),
    lens: lensOf(viewer, capsules.complete),
    heads: headsOf(viewer),
    matrix: matrixOf(viewer),
    answer: answerOf(viewer),
    more: moreOf(viewer),
    expert: expertOf(viewer),
    compare: comparisonOf(viewer),
    check: checkOf(viewer),
    tables: tablesOf(viewer, capsules.complete),
    keep: keepOf(viewer),
    offer: offerOf(viewer),
    ahead: aheadOf(viewer, capsules.ask),
  };
  drawers.fill({
    compare: own.compare.element,
    heads: own.tables.element,
    check: own.check.element,
    keep: own.keep.element,
  });
  const unlay = layoutOf(viewer, { ...own, words, drawers, explanations: explanationsOf(viewer) });

  /** @type {Set<string>} */
  let changed = new Set();
  let stale = false; // the settings moved since the last drawing
  let drawnThisFrame = false;
  let forgive = () => {}; // takes the last error of a drawing away
  let failed = false; // since the last drawing: what is drawn next is the former picture
  let exact = false; // whether the next picture of a large view is drawn at its full size
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let refining;

  /** @param {unknown} error */
  const fail = (error) => {
    const text = error instanceof Error ? error.message : String(error);
    forgive = messages.say({ kind: "error", text });
    // the controls agree with the picture again
    failed = true;
    if (now && !signal.aborted) store.change(now.state, { undoable: false });
  };

  /**
   * Wait for something that the picture needs; the newest settings count when it is here.
   * @param {string} text
   * @param {Promise<unknown>} coming
   */
  const wait = (text, coming) => {
    const { state } = store;
    const done = messages.say({ kind: "progress", text });
    coming.then(
      () => {
        done();
        if (!signal.aborted) invalidate([]);
      },
      (error) => {
        done();
        if (store.state === state && !signal.aborted) fail(error);
      },
    );
  };

  /** @param {State} state */
  const fetchCapsule = async ({ model, picture: name }) => {
    const capsule = await capsules.capsuleOf(model, name);
    photos.set(capsule, await photoOf(capsule));
    const state = store.get();
    if (signal.aborted || state.model !== model || state.picture !== name) return;
    store.start(capsule.facts.start);
    const fitted = fit(store.get(), new Set());
    store.change({ ...fitted, question: state.question || questionOf(capsule, fitted) }, { undoable: false });
  };

  /**
   * A file has some maps for the usual query alone: then they are shown for that one.
   * @param {State} state
   * @param {Capsule} capsule
   * @param {Set<string>} chosen   by the user
   * @returns {State}
   */
  const heldByFile = (state, capsule, chosen) => {
    if (!host.closed || state.query === null || chosen.has("query") || !missing(capsule, state)) return state;
    const usual = { ...state, query: null };
    if (missing(capsule, usual)) return state;
    if (Array.isArray(state.query))
      messages.say({ kind: "note", text: "This file has that for the usual query, not for a patch.", lasts: 8000 });
    return usual;
  };

  /**
   * @param {State} next
   * @param {Set<string>} chosen   by the user
   * @returns {State}
   */
  const fit = (next, chosen) => {
    const capsule = capsules.readyCapsule(next.model, next.picture);
    const fresh = chosen.has("picture");
    // a new photo starts from its own prediction, and a patch of the old one means nothing there
    const target = fresh && !chosen.has("target") ? null : next.target;
    const query = fresh && !chosen.has("query") && Array.isArray(next.query) ? null : next.query;
    const wanted = { ...next, target, query };
    if (!capsule || !("layer" in wanted)) return wanted;
    if (!now) return heldByFile(fitSettings(wanted, capsule), capsule, chosen);
    const { facts, targetNames } = now.capsule;
    const other = next.model !== now.state.model || next.picture !== now.state.picture;
    // a patch that was chosen in the same step is one of the new layer's
    const grid = other || !chosen.has("query") ? facts.layers[now.settings.layer].query_grid : null;
    return heldByFile(fitSettings(wanted, capsule, { grid, classes: other ? targetNames : null }), capsule, chosen);
  };
  store.fit = fit;

  const draw = () => {
    stale = false;
    const state = store.get();
    const capsule = capsules.readyCapsule(state.model, state.picture);
    const photo = capsule && photos.get(capsule);
    if (!capsule || !photo) {
      if (state.model && state.picture) wait("Looking at the photo", fetchCapsule(state));
      return;
    }
    if (now?.capsule !== capsule) changed.add("capsule");
    let coarse = false;
    try {
      const settings = viewSettings(state);
      const request = missing(capsule, settings);
      if (request) {
        wait(PROGRESS_WORDS[request.need], capsules.supply(state.model, state.picture, capsule, settings));
        return;
      }
      const look = state.arrangement === "overlay" ? settings : { ...settings, opacity: 1, blend: "even" };
      const [width, height] = capsule.facts.picture.view_size;
      coarse = width * height > LARGE_VIEW && !exact;
      exact = false;
      const prepared = prepareView(capsule, settings, { coarse });
      const drawn = drawView(capsule, look, prepared);
      now = { state, settings, capsule, photo, prepared, drawn, changed };
    } catch (error) {
      fail(error);
      return;
    }
    if (changed.size && !failed) forgive();
    failed = false;
    changed = new Set();
    drawnThisFrame = true;
    root.classList.remove("va-empty");
    clearTimeout(refining);
    if (coarse) refining = setTimeout(refine, REFINE_MS);
    for (const part of Object.values(own)) part.update(now);
    if (
      ["layer", "head", "aggregation", "query", "source", "target", "sinks", "capsule"].some((name) =>
        now?.changed.has(name),
      )
    ) {
      sentence.replaceChildren(...withTerms(now.prepared.sentence));
      setText(caption, now.prepared.caption);
    }
  };

  const frame = () => {
    drawnThisFrame = false;
    if (stale) draw();
    drawnThisFrame = false;
    if (!now) return;
    const { model, picture: name, arrangement } = now.state;
    root.dataset.shown = JSON.stringify({ ...now.settings, model, picture: name, arrangement });
  };

  /**
   * Draw at once, so that the picture is part of the next frame; a second change before that frame waits for it.
   * @param {Iterable<string>} names
   */
  const invalidate = (names) => {
    for (const name of names) changed.add(name);
    if (stale || signal.aborted) return;
    stale = true;
    if (!drawnThisFrame) queueMicrotask(() => stale && !signal.aborted && draw());
    requestAnimationFrame(() => !signal.aborted && frame());
  };

  const refine = () => {
    exact = true;
    invalidate([]);
  };

  store.subscribe((names) => {
    exact = false;
    invalidate(names);
  });
  const silence = host.subscribe((changes) => store.receive(changes));
  const unwatch = host.onCapsule?.((model, name) => {
    capsules.forget(model, name);
    invalidate([]);
  });
  invalidate([]);
  if (host.message) messages.say({ kind: "error", text: host.message });

  return {
    destroy() {
      ending.abort();
      clearTimeout(refining);
      silence();
      unwatch?.();
      own.ahead.stop();
      unlay();
    },
  };
}
