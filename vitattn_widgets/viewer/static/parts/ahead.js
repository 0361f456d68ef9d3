// @ts-check
// What will probably be wanted next is asked for and computed while nobody waits; any change of settings stops it.

import { missing } from "../engine/attribution.js";
import { prepareView } from "../engine/render.js";
import { fitSettings } from "../engine/resolve.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./types.js").Settings} Settings */

const PAUSE_MS = 400; // of quiet, before anything is asked
const SPARE_MS = 9; // of an idle frame, for one smoothed map
const SILENCE_MS = 60000; // after a host could not answer

/** @param {() => void} work */
function whenIdle(work) {
  if (!globalThis.requestIdleCallback) return void setTimeout(work, 60);
  requestIdleCallback((deadline) => (deadline.timeRemaining() < SPARE_MS ? whenIdle(work) : work()));
}

/**
 * @param {Viewer} viewer
 * @param {(model: string, picture: string, capsule: import("./types.js").Capsule, request: object) => Promise<void>} ask
 */
export function aheadOf(viewer, ask) {
  let turn = 0;
  let silentUntil = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;

  /**
   * The maps one step away: the neighbouring layers first, then the heads.
   * @param {Now} now
   * @returns {Settings[]}
   */
  const neighbours = ({ capsule, settings }) => {
    const { layer, head } = settings;
    const last = capsule.facts.layers.length - 1;
    const layers = [layer + 1, layer - 1].filter((one) => one >= 0 && one <= last);
    const { heads, query_grid: grid } = capsule.facts.layers[layer];
    const single = capsule.source(settings.source).no_head
      ? []
      : [...Array(heads).keys()].filter((one) => one !== head);
    return [
      ...layers.map((one) => fitSettings({ ...settings, layer: one }, capsule, { grid })),
      ...single.map((one) => ({ ...settings, head: one })),
      ...(head === null ? [] : [{ ...settings, head: null }]),
    ];
  };

  /**
   * @param {Now} now
   * @param {() => boolean} current
   */
  const fetchAhead = async ({ capsule, settings, state }, current) => {
    if (performance.now() < silentUntil) return;
    const { source } = settings;
    const layers = capsule.facts.layers.map((_, layer) => layer);
    /** @type {object[]} */
    const requests = [];
    if (capsule.facts.layers[settings.layer].operands && !capsule.has(`layer${settings.layer}.q`)) {
      requests.push({ need: "operands", layer: settings.layer });
    }
    for (const layer of layers) {
      const request = capsule.source(source).plain
        ? null
        : missing(capsule, fitSettings({ ...settings, layer }, capsule), layers);
      if (request) requests.push(request);
      if (request) break;
    }
    for (const request of requests) {
      if (!current()) return;
      await ask(state.model, state.picture, capsule, request);
    }
  };

  /** @param {Now} now */
  const start = async (now) => {
    turn += 1;
    const own = turn;
    const current = () => own === turn && !viewer.signal.aborted;
    try {
      await fetchAhead(now, current);
    } catch {
      silentUntil = performance.now() + SILENCE_MS; // whoever needs it will see why; what lies ahead can wait
    }
    const left = neighbours(now);
    const next = () => {
      const settings = current() ? left.shift() : undefined;
      if (!settings) return;
      if (!missing(now.capsule, settings)) prepareView(now.capsule, settings);
      whenIdle(next);
    };
    whenIdle(next);
  };

  return {
    /** @param {Now} now */
    update(now) {
      turn += 1;
      clearTimeout(waiting);
      waiting = setTimeout(() => start(now), PAUSE_MS);
    },
    stop() {
      turn += 1;
      clearTimeout(waiting);
    },
  };
}
