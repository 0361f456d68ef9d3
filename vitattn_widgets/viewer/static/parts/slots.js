// @ts-check
// The panels of a comparison on their way: each is loaded once, and shown as soon as it is there.

import { fitSettings } from "../engine/resolve.js";
import { panelSettings } from "./kept.js";
import { photoOf } from "./paint.js";
import { sameValue } from "./store.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").PanelChoice} PanelChoice */
/** @typedef {import("./difference.js").ShownPanel} ShownPanel */
/**
 * @typedef {Object} Slot
 * @property {PanelChoice} choice
 * @property {ShownPanel | null} panel   null until its photo and model are here
 * @property {boolean} ready             whether its map can be drawn
 * @property {string} reason             why it failed; "" if it did not
 */

const LINES = 2; // panels that are loaded at the same time

/**
 * @param {Viewer} viewer
 * @param {() => void} draw   what has come is to be shown
 */
export function slotsOf(viewer, draw) {
  /** @type {Slot[]} */
  let slots = [];
  let turn = 0;
  let drawing = false;

  const drawSoon = () => {
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      if (!viewer.signal.aborted) draw();
    });
  };

  /**
   * @param {State} state
   * @param {Slot} slot   filled here
   */
  const load = async (state, slot) => {
    const { model, picture } = slot.choice;
    try {
      const capsule = await viewer.capsuleOf(model, picture);
      const settings = fitSettings(panelSettings(state, slot.choice), capsule);
      const panel = { capsule, settings, photo: await photoOf(capsule), name: "" };
      if (!slot.ready) slot.panel = panel; // for its title; a map that is here stays until the next one is
      await viewer.supply(model, picture, capsule, settings);
      Object.assign(slot, { panel, ready: true, reason: "" });
    } catch (error) {
      slot.ready = false;
      slot.reason = error instanceof Error ? error.message : String(error);
    }
  };

  return {
    all: () => slots,
    drawSoon,
    /** Load what the settings ask for, in the look that they have now. */
    refresh() {
      const state = viewer.store.get();
      const former = slots;
      slots = state.panels.map((choice) => {
        const known = former.find((slot) => sameValue(slot.choice, choice));
        return { choice, panel: known?.panel ?? null, ready: known?.ready ?? false, reason: known?.reason ?? "" };
      });
      turn += 1;
      const own = turn;
      drawSoon();
      // those that are here first; then a few at a time, so that the picture's own questions find a free line
      const queue = [...slots.filter(({ ready }) => ready), ...slots.filter(({ ready }) => !ready)];
      const work = async () => {
        for (let slot = queue.shift(); slot && own === turn; slot = queue.shift()) {
          await load(state, slot);
          if (own === turn) drawSoon();
        }
      };
      for (let line = 0; line < LINES; line += 1) work();
    },
  };
}
