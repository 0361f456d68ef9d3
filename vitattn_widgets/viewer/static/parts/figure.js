// @ts-check
// Figures to keep: pictures with their titles, colour bars and sentences as one SVG drawing, which a PNG is made of.

import { barStrip } from "./bars.js";
import { element, shape } from "./dom.js";

/**
 * @typedef {Object} FigurePanel
 * @property {HTMLCanvasElement} canvas
 * @property {string} title
 *
 * @typedef {Object} FigureParts
 * @property {string} title
 * @property {FigurePanel[]} panels
 * @property {import("./bars.js").Bar[]} bars
 * @property {string[]} lines   texts below: the first for a person, the others small
 */

const INK = "#1c1d21";
const SOFT = "#55585f";
const FONT = "Helvetica, Arial, sans-serif";
const MARGIN = 20;
const GAP = 16;
const MAX_COLUMNS = 4;
const PNG_SCALE = 2;

const ruler = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));

/**
 * A text broken into lines of a width.
 * @param {string} text
 * @param {number} size   of the type, in pixels
 * @param {number} width
 */
function wrapped(text, size, width) {
  ruler.font = `${size}px ${FONT}`;
  /** @type {string[]} */
  const lines = [];
  for (const word of text.split(/\s+/).filter(Boolean)) {
    const longer = lines.length ? `${lines[lines.length - 1]} ${word}` : word;
    if (lines.length && ruler.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/**
 * @param {FigureParts} parts
 * @returns {SVGSVGElement} with its size in pixels as width and height
 */
export function figureOf({ title, panels, bars, lines }) {
  const columns = Math.min(
    panels.length,
    panels.length > MAX_COLUMNS ? Math.ceil(panels.length / Math.ceil(panels.length / MAX_COLUMNS)) : MAX_COLUMNS,
  );
  const side = panels.length === 1 ? 560 : 300; // width of a panel
  const width = columns * side + (columns - 1) * GAP + 2 * MARGIN;
  const inner = width - 2 * MARGIN;
  const svg = shape("svg", { xmlns: "http://www.w3.org/2000/svg", "font-family": FONT });
  let y = MARGIN;

  /**
   * @param {string} words
   * @param {number} size
   * @param {{x?: number, width?: number, color?: string, bold?: boolean, at?: number}} [options]
   * @returns {number} the height used
   */
  const write = (words, size, { x = MARGIN, width: room = inner, color = INK, bold = false, at = y } = {}) => {
    const rows = wrapped(words, bold ? size * 1.06 : size, room);
    rows.forEach((row, index) => {
      const place = {
        x,
        y: at + size + index * size * 1.35,
        "font-size": size,
        fill: color,
        "font-weight": bold ? 600 : 400,
      };
      svg.append(shape("text", place, row));
    });
    return rows.length * size * 1.35;
  };

  if (title) y += write(title, 17, { bold: true }) + 8;
  for (let start = 0; start < panels.length; start += columns) {
    const row = panels.slice(start, start + columns);
    const titled = Math.max(...row.map((panel) => wrapped(panel.title, 13, side).length * 13 * 1.35));
    for (const [index, panel] of row.entries())
      write(panel.title, 13, { x: MARGIN + index * (side + GAP), width: side });
    y += titled ? titled + 5 : 0;
    const heights = row.map(({ canvas }) => (side * canvas.height) / canvas.width);
    row.forEach(({ canvas }, index) => {
      const place = { x: MARGIN + index * (side + GAP), y, width: side, height: heights[index] };
      svg.append(shape("image", { ...place, href: canvas.toDataURL("image/png") }));
    });
    y += Math.max(...heights) + 12;
  }
  const room = Math.min(420, (inner - GAP * (bars.length - 1)) / bars.length);
  for (const [index, bar] of bars.entries()) drawBar(svg, bar, MARGIN + index * (room + GAP), y, room);
  if (bars.length) y += 48;
  lines.forEach((line, index) => {
    y += write(line, index ? 11 : 14, { color: index ? SOFT : INK }) + 6;
  });
  const height = Math.ceil(y + MARGIN - 6);
  for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` }))
    svg.setAttribute(name, String(value));
  svg.prepend(shape("rect", { width, height, fill: "#ffffff" }));
  return svg;
}

/**
 * @param {SVGSVGElement} svg
 * @param {import("./bars.js").Bar} bar
 * @param {number} x
 * @param {number} y
 * @param {number} width
 */
function drawBar(svg, bar, x, y, width) {
  const { ticks, unit } = bar;
  const href = barStrip(bar).toDataURL("image/png");
  svg.append(
    shape("image", { x, y, width, height: 12, preserveAspectRatio: "none", href }),
    shape("rect", { x, y, width, height: 12, fill: "none", stroke: SOFT, "stroke-width": 0.5 }),
  );
  ticks.forEach((tick, index) => {
    const part = ticks.length > 1 ? index / (ticks.length - 1) : 0;
    const anchor = part === 0 ? "start" : part === 1 ? "end" : "middle";
    svg.append(
      shape("text", { x: x + part * width, y: y + 25, "font-size": 11, fill: INK, "text-anchor": anchor }, tick),
    );
  });
  svg.append(
    shape("text", { x: x + width / 2, y: y + 39, "font-size": 11, fill: SOFT, "text-anchor": "middle" }, unit),
  );
}

/**
 * @param {SVGSVGElement} svg   from `figureOf`
 * @returns {Blob}
 */
export function svgFile(svg) {
  return new Blob([new XMLSerializer().serializeToString(svg)], { type: "image/svg+xml" });
}

/**
 * @param {SVGSVGElement} svg   from `figureOf`
 * @returns {Promise<Blob>}
 */
export async function pngOfFigure(svg) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(svg))}`;
  await image.decode();
  const canvas = element("canvas", {
    width: svg.width.baseVal.value * PNG_SCALE,
    height: svg.height.baseVal.value * PNG_SCALE,
  });
  canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return pngFile(canvas);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @returns {Promise<Blob>}
 */
export function pngFile(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) => (blob ? resolve(blob) : reject(new Error("this browser could not write the picture"))),
      "image/png",
    );
  });
}

/**
 * Let the browser save a file.
 * @param {string} name
 * @param {Blob} content
 */
export function saveFile(name, content) {
  const url = URL.createObjectURL(content);
  const link = element("a", { href: url, download: name, class: "va-hidden" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
