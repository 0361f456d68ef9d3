// @ts-check
// The outline of some cells of a grid.

/** @typedef {[number, number]} Corner   of cells: row and column, from 0 to their numbers */

/** The ways along the edges of a cell, clockwise from its top left corner: rows and columns. */
const WAYS = [
  [0, 1],
  [1, 0],
  [0, -1],
  [-1, 0],
];

/**
 * The closed lines around the pieces of a set of cells, clockwise around a piece and counterclockwise around a hole,
 * with a corner wherever they turn. Cells that touch at a corner alone are two pieces.
 * @param {Uint8Array} cells   (rows * cols,), 1 for those of the set
 * @param {[number, number]} grid   rows and columns
 * @returns {Corner[][]}
 */
export function contour(cells, [rows, cols]) {
  /** @param {number} row @param {number} col */
  const has = (row, col) => row >= 0 && col >= 0 && row < rows && col < cols && cells[row * cols + col] === 1;
  /** @param {number} row @param {number} col @param {number} way @returns {number} of the edge from a corner */
  const edgeOf = (row, col, way) => 4 * (row * (cols + 1) + col) + way;
  /** @type {Set<number>} between a cell of the set and one that is none */
  const edges = new Set();
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < cols; col++) {
      if (!has(row, col)) continue;
      if (!has(row - 1, col)) edges.add(edgeOf(row, col, 0));
      if (!has(row, col + 1)) edges.add(edgeOf(row, col + 1, 1));
      if (!has(row + 1, col)) edges.add(edgeOf(row + 1, col + 1, 2));
      if (!has(row, col - 1)) edges.add(edgeOf(row + 1, col, 3));
    }
  }
  /** @type {Corner[][]} */
  const lines = [];
  for (const first of edges) {
    /** @type {Corner[]} */
    const line = [];
    let edge = first;
    let before = -1;
    do {
      edges.delete(edge);
      const way = edge % 4;
      const corner = (edge - way) / 4;
      const [row, col] = [Math.floor(corner / (cols + 1)), corner % (cols + 1)];
      if (way !== before) line.push([row, col]);
      before = way;
      const end = edgeOf(row + WAYS[way][0], col + WAYS[way][1], 0);
      // to the right first: where two cells touch at a corner, the line stays at its own
      edge =
        [way + 1, way, way + 3].map((next) => end + (next % 4)).find((next) => next === first || edges.has(next)) ??
        first;
    } while (edge !== first);
    if (before === first % 4) line.shift(); // it began in the middle of a straight part
    lines.push(line);
  }
  return lines;
}
