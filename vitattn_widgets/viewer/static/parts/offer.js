// @ts-check
// Where a clicked patch looks at little but sinks, the nearest layer in which it does not is offered.

import { rawMap } from "../engine/attribution.js";
import { shareOf } from "../engine/sinks.js";
import { sameValue } from "./store.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */

const MOST = 0.7; // a row is "all sinks" from this share on
const PATIENCE_MS = 350; // a query that is dragged over the picture asks nothing
const FARTHEST = 4; // layers to look at in each direction: each may ask Python once

/** @param {Viewer} viewer */
export function offerOf(viewer) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;
  /** @type {(() => void) | undefined} */
  let close;

  /**
   * The share that sinks take of a layer's map of the query.
   * @param {Now} now
   * @param {number} layer
   */
  const sinkShare = ({ capsule, settings }, layer) => {
    const raw = rawMap(capsule, { ...settings, layer });
    return shareOf(raw.withSinks, capsule.sinks(layer));
  };

  /** @param {Now} now */
  const search = async (now) => {
    const { capsule, settings, state } = now;
    const last = capsule.facts.layers.length - 1;
    const near = Array.from({ length: FARTHEST }, (_, step) => [
      settings.layer - step - 1,
      settings.layer + step + 1,
    ]).flat();
    for (const layer of near) {
      if (layer < 0 || layer > last || !capsule.facts.layers[layer].query_patches) continue;
      await viewer.supply(state.model, state.picture, capsule, { ...settings, layer });
      if (!sameValue(viewer.now()?.settings, settings)) return;
      if (sinkShare(now, layer) >= MOST) continue;
      close = viewer.say({
        kind: "note",
        text: `In layer ${settings.layer} this patch looks at little but sinks.`,
        action: { text: `Layer ${layer}: it looks elsewhere`, act: () => viewer.store.change({ layer }) },
      });
      return;
    }
  };

  return {
    /** @param {Now} now */
    update(now) {
      if (!["query", "layer", "head", "source", "capsule"].some((name) => now.changed.has(name))) return;
      clearTimeout(waiting);
      close?.();
      close = undefined;
      const { settings, prepared } = now;
      if (!Array.isArray(settings.query) || !prepared.raw.resolved.source.plain) return;
      if (shareOf(prepared.raw.withSinks, prepared.sinks) < MOST) return;
      waiting = setTimeout(() => search(now).catch(() => {}), PATIENCE_MS); // an offer that cannot be made is none
    },
  };
}
