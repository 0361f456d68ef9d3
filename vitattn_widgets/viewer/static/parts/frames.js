// @ts-check
// Framed patches on a canvas, for panels and files: the picture on the screen has vector marks instead.

import { patchBoxes } from "../engine/drawing.js";
import { OUTLINED } from "../engine/sinks.js";
import { gridPlace } from "./paint.js";

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
  const { layer, query } = prepared.raw.resolved;
  const { grid, query_grid: queryGrid } = capsule.facts.layers[layer];
  const view = gridPlace(capsule, layer, settings.on);
  const [x, y] = [view.left * canvas.width, view.top * canvas.height];
  /** @type {[number, number, number, number]} */
  const box = [x, y, x + view.width * canvas.width, y + view.height * canvas.height];
  const line = Math.max(1, (box[2] - box[0]) / grid[1] / 14);

  /**
   * A light line on a dark one is seen on any photo.
   * @param {Uint8Array} patches
   * @param {[number, number]} cells   rows and columns
   * @param {number[]} dashes   none for a solid line
   */
  const frame = (patches, cells, dashes) => {
    for (const [left, top, right, bottom] of patchBoxes(patches, cells, box)) {
      for (const light of [false, true]) {
        context.lineWidth = light ? line : 2 * line;
        context.strokeStyle = light ? "#fff" : "rgb(0 0 0 / 70%)";
        context.setLineDash(light ? dashes : []);
        context.strokeRect(left + line, top + line, right - left - 2 * line, bottom - top - 2 * line);
      }
    }
  };

  if (OUTLINED.includes(settings.sinks)) frame(prepared.sinks, grid, [3 * line, 2 * line]);
  if (!withQuery || !Array.isArray(query)) return;
  const own = new Uint8Array(queryGrid[0] * queryGrid[1]);
  own[query[0] * queryGrid[1] + query[1]] = 1;
  frame(own, queryGrid, []);
}
