// @ts-check
// Vector marks on the picture: sinks, the query, what it can reach and its strongest targets, the patch under the
// pointer, the crop.

import { shareWords } from "../engine/captions.js";
import { samePlace } from "../engine/resolve.js";
import { countSinks, LEFT_OUT, OUTLINED, shareOf } from "../engine/sinks.js";
import { contour } from "./contour.js";
import { shape } from "./dom.js";
import { gridPlace } from "./paint.js";

/** @typedef {import("./types.js").Capsule} Capsule */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./paint.js").Place} Place */
/** @typedef {[number, number]} Patch   row and column */

const WIDTH = 1000; // of the drawing; its height follows the picture
const TARGETS = 3;

/**
 * A patch's place on the ground.
 * @param {Patch} patch
 * @param {Place} view   of the model's view on the ground
 * @param {[number, number]} grid
 * @returns {Place}
 */
export function patchPlace([row, col], view, [rows, cols]) {
  const [width, height] = [view.width / cols, view.height / rows];
  return { left: view.left + col * width, top: view.top + row * height, width, height };
}

/**
 * The patch at a point of the ground.
 * @param {number} x   in shares of the ground, 0..1
 * @param {number} y
 * @param {Place} view
 * @param {[number, number]} grid
 * @returns {Patch | null}
 */
export function patchAt(x, y, view, [rows, cols]) {
  const row = Math.floor(((y - view.top) / view.height) * rows);
  const col = Math.floor(((x - view.left) / view.width) * cols);
  return row >= 0 && col >= 0 && row < rows && col < cols ? [row, col] : null;
}

/**
 * The patches of a layer that can be pointed at: its queries, or the patches of its map where none is a query.
 * @param {Capsule} capsule
 * @param {number} layer   from 0 on
 * @returns {[number, number]} rows and columns
 */
export function pointGrid(capsule, layer) {
  const { query_patches: patches, query_grid: queries, grid } = capsule.facts.layers[layer];
  return patches ? queries : grid;
}

/**
 * The patch of a layer's map at the place of a patch that is pointed at.
 * @param {Capsule} capsule
 * @param {number} layer   from 0 on
 * @param {Patch} patch   of `pointGrid`
 * @returns {Patch}
 */
export function mapCell(capsule, layer, patch) {
  return samePlace(patch, pointGrid(capsule, layer), capsule.facts.layers[layer].grid);
}

/**
 * The patches that get most of a map, the query and the framed sinks not among them.
 * @param {Now} now
 * @returns {Patch[]} strongest first; only those clearly above the average
 */
export function strongestTargets({ prepared, settings, capsule }) {
  const { query, layer } = prepared.raw.resolved;
  const cols = capsule.facts.layers[layer].grid[1];
  const [row, col] = Array.isArray(query) ? mapCell(capsule, layer, query) : [-1, 0];
  const own = row * cols + col;
  /** @type {Float32Array} */
  const values = prepared.raw.gridMap;
  const average = values.reduce((sum, value) => sum + value, 0) / values.length;
  const framed = OUTLINED.includes(settings.sinks);
  return Array.from(values, (value, patch) => ({ value, patch }))
    .filter(({ value, patch }) => patch !== own && value > 2 * average && !(framed && prepared.sinks[patch]))
    .sort((one, other) => other.value - one.value)
    .slice(0, TARGETS)
    .map(({ patch }) => [Math.floor(patch / cols), patch % cols]);
}

/**
 * What the sinks take, in words; "" if there are none or they are not framed.
 * @param {Now} now
 */
export function sinkWords({ prepared, settings }) {
  const count = countSinks(prepared.sinks);
  if (!count || !OUTLINED.includes(settings.sinks)) return "";
  const share = shareWords(shareOf(prepared.raw.withSinks, prepared.sinks));
  const apart = LEFT_OUT.includes(settings.sinks) ? ": set apart" : "";
  const { signed } = prepared.raw.resolved.source;
  const verb = signed ? "hold" : "take";
  return count > 1 ? `${count} sink patches ${verb} ${share}${apart}` : `1 sink patch ${verb}s ${share}${apart}`;
}

/**
 * What the query can reach, in a few words; "" if that is everything.
 * @param {Uint8Array | null} cells   of `reachOf`
 * @param {[number, number]} grid
 */
export function reachWords(cells, [rows, cols]) {
  if (!cells) return "";
  const [line, ...others] = contour(cells, [rows, cols]);
  if (others.length || line.length > 4) {
    return `Sees only ${cells.reduce((sum, cell) => sum + cell, 0)} of ${rows * cols} patches`;
  }
  const [[top, left], , [bottom, right]] = line; // clockwise from the top left corner
  return `Sees only its window: ${bottom - top} x ${right - left} patches`;
}

export function marksOf() {
  const drawing = shape("svg", { class: "va-marks", preserveAspectRatio: "none", "aria-hidden": "true" });
  const still = shape("g");
  const cursor = shape("rect", { class: "va-mark-cursor", rx: 6, visibility: "hidden" });
  drawing.append(still, cursor);
  let height = WIDTH;

  /**
   * @param {Place} place
   * @param {number} inset
   */
  const corners = ({ left, top, width, height: high }, inset = 0) => ({
    x: left * WIDTH + inset,
    y: top * height + inset,
    width: Math.max(0, width * WIDTH - 2 * inset),
    height: Math.max(0, high * height - 2 * inset),
  });

  /**
   * The outline of some cells, inside the view.
   * @param {Uint8Array} set
   * @param {[number, number]} grid
   * @param {Place} cells   of the grid
   * @param {Place} view
   */
  const outline = (set, grid, cells, view) => {
    const box = corners(view, 2);
    const lines = contour(set, grid).map((line) => {
      const points = line.map(([row, col]) => {
        const { x, y } = corners(patchPlace([row, col], cells, grid));
        const inside = (/** @type {number} */ at, /** @type {number} */ low, /** @type {number} */ size) =>
          Math.min(Math.max(at, low), low + size);
        return `${inside(x, box.x, box.width)} ${inside(y, box.y, box.height)}`;
      });
      return `M${points.join("L")}Z`;
    });
    const d = lines.join("");
    return [shape("path", { class: "va-mark-halo", d }), shape("path", { class: "va-mark-reach", d })];
  };

  /** @param {Place} place */
  const centre = ({ left, top, width, height: high }) => [(left + width / 2) * WIDTH, (top + high / 2) * height];

  /**
   * Two strokes, a dark one below a light one, are seen on any photo.
   * @param {string} name
   * @param {Place} place
   */
  const frame = (name, place) => [
    shape("rect", { class: "va-mark-halo", rx: 6, ...corners(place, 3) }),
    shape("rect", { class: name, rx: 6, ...corners(place, 3) }),
  ];

  /**
   * A curve from the query to a target, and a ring around the target.
   * @param {Place} from
   * @param {Place} to
   * @param {number} rank   0 is the strongest
   */
  const target = (from, to, rank) => {
    const [x, y] = centre(from);
    const [toX, toY] = centre(to);
    const radius = (Math.min(to.width * WIDTH, to.height * height) / 2) * 0.9;
    const distance = Math.hypot(toX - x, toY - y) || 1;
    const [endX, endY] = [toX - ((toX - x) / distance) * radius, toY - ((toY - y) / distance) * radius];
    const [bendX, bendY] = [(x + toX) / 2 - (toY - y) * 0.16, (y + toY) / 2 + (toX - x) * 0.16];
    const path = `M${x} ${y}Q${bendX} ${bendY} ${endX} ${endY}`;
    return [
      shape("path", { class: "va-mark-halo", d: path }),
      shape("path", { class: `va-mark-way va-mark-way-${rank}`, d: path }),
      shape("circle", { class: "va-mark-halo", cx: toX, cy: toY, r: radius }),
      shape("circle", { class: `va-mark-way va-mark-way-${rank}`, cx: toX, cy: toY, r: radius }),
    ];
  };

  return {
    element: drawing,
    /**
     * @param {Now} now
     * @param {Place} view   of the model's view on the ground
     * @param {number} ratio   width of the ground by its height
     * @param {Patch[]} targets
     * @param {Uint8Array | null} reached   of `reachOf`
     */
    update({ prepared, settings, capsule }, view, ratio, targets, reached) {
      height = WIDTH / ratio;
      drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
      const { query, layer } = prepared.raw.resolved;
      const { grid } = capsule.facts.layers[layer];
      const cells = gridPlace(capsule, layer, settings.on);
      /** @type {SVGElement[]} */
      const marks = [];
      if (settings.on !== "view") {
        const box = corners(view);
        const outside = `M0 0H${WIDTH}V${height}H0zM${box.x} ${box.y}v${box.height}h${box.width}v${-box.height}z`;
        marks.push(shape("path", { class: "va-mark-outside", "fill-rule": "evenodd", d: outside }));
        marks.push(shape("rect", { class: "va-mark-crop", ...box }));
      }
      if (OUTLINED.includes(settings.sinks)) {
        prepared.sinks.forEach((/** @type {number} */ sink, /** @type {number} */ patch) => {
          if (!sink) return;
          const place = patchPlace([Math.floor(patch / grid[1]), patch % grid[1]], cells, grid);
          marks.push(...frame("va-mark-sink", place));
        });
      }
      if (reached) marks.push(...outline(reached, grid, cells, view));
      if (Array.isArray(query)) {
        const from = patchPlace(/** @type {Patch} */ (query), cells, pointGrid(capsule, layer));
        targets.forEach((patch, rank) => {
          marks.push(...target(from, patchPlace(patch, cells, grid), rank));
        });
        marks.push(...frame("va-mark-query", from));
      }
      still.replaceChildren(...marks);
    },
    /** @param {Place | null} place */
    point(place) {
      cursor.setAttribute("visibility", place ? "visible" : "hidden");
      if (!place) return;
      for (const [name, value] of Object.entries(corners(place, 2))) cursor.setAttribute(name, String(value));
    },
  };
}
