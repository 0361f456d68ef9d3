// @ts-check
// Framed patches on a canvas, for panels and files: the picture on the screen has vector marks instead.

import { patchBoxes } from "../engine/drawing.js";
import { OUTLINED } from "../engine/sinks.js";
import { viewPlace } from "./paint.js";

/** @typedef {import("./types.js").Capsule} Capsule */
/** @typedef {import("./types.js").Settings} Settings */

/**
 * Frame the sinks if the settings say so, and the patch that is the query.
 * @param {HTMLCanvasElement} canvas   the ground with its map
 * @param {Capsule} capsule
 * @param {Settings} settings
 * @param {import("../engine/render.js").Prepared} prepared
 * @param {boolean} [withQuery]
 */
export function framePatches(canvas, capsule, settings, prepared, withQuery = true) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const { grid } = capsule.facts.model;
  const view = viewPlace(capsule, settings.on);
  const [x, y] = [view.left * canvas.width, view.top * canvas.height];
  /** @type {[number, number, number, number]} */
  const box = [x, y, x + view.width * canvas.width, y + view.height * canvas.height];
  const line = Math.max(1, (box[2] - box[0]) / grid[1] / 14);

  /**
   * A light line on a dark one is seen on any photo.
   * @param {Uint8Array} patches
   * @param {number[]} dashes   none for a solid line
   */
  const frame = (patches, dashes) => {
    for (const [left, top, right, bottom] of patchBoxes(patches, grid, box)) {
      for (const light of [false, true]) {
        context.lineWidth = light ? line : 2 * line;
        context.strokeStyle = light ? "#fff" : "rgb(0 0 0 / 70%)";
        context.setLineDash(light ? dashes : []);
        context.strokeRect(left + line, top + line, right - left - 2 * line, bottom - top - 2 * line);
      }
    }
  };

  if (OUTLINED.includes(settings.sinks)) frame(prepared.sinks, [3 * line, 2 * line]);
  const { query } = prepared.raw.resolved;
  if (!withQuery || !Array.isArray(query)) return;
  const own = new Uint8Array(grid[0] * grid[1]);
  own[query[0] * grid[1] + query[1]] = 1;
  frame(own, []);
}
