// @ts-check
// Terms: each has two sentences and a small drawing, shown when it is pointed at, focused or tapped.

import { element, shape } from "./dom.js";
import { TERMS } from "./glossary.js";

/** @typedef {import("./glossary.js").Term} Term */

/** @type {[RegExp, string][]} words of running text and the terms that they stand for; the longer ones first */
const WORDS = [
  ["gradient (?:x|times) attention", "gradient"],
  ["class tokens?|distillation token|pooling latent", "token"],
  ["prefix tokens?", "prefix"],
  ["value norms?", "norm"],
  ["sink patch(?:es)?|sinks?", "sink"],
  ["windows|mask units|grids of one patch", "window"],
  ["average patch", "average"],
  ["registers?", "register"],
  ["rollout", "rollout"],
  ["relevance", "relevance"],
  ["contributions?", "contribution"],
  ["heads?", "head"],
  ["logits?", "logit"],
  ["MLPs?", "mlp"],
  ["robust", "robust"],
  ["deletion", "deletion"],
  ["insertion", "insertion"],
].map(([words, name]) => [new RegExp(`\\b(?:${words})\\b`, "i"), name]);

const OPEN_MS = 220;
const CLOSE_MS = 180;

/**
 * A word with an explanation.
 * @param {string} name   a key of TERMS
 * @param {string} [words]   as they stand in the text; the term's title if absent
 */
export function term(name, words = TERMS[name].title) {
  return element("button", { type: "button", class: "va-term", "data-term": name }, words);
}

/**
 * The two sentences about a term; "" if there are none.
 * @param {string} name
 */
export function termWords(name) {
  return TERMS[name]?.words ?? "";
}

/**
 * A text whose terms can be asked about; each at its first place.
 * @param {string} text
 * @returns {(Node | string)[]}
 */
export function withTerms(text) {
  /** @type {{start: number, words: string, name: string}[]} */
  const found = [];
  for (const [pattern, name] of WORDS) {
    const match = pattern.exec(text);
    if (!match) continue;
    const end = match.index + match[0].length;
    if (found.some(({ start, words }) => match.index < start + words.length && start < end)) continue;
    found.push({ start: match.index, words: match[0], name });
  }
  found.sort((one, other) => one.start - other.start);
  /** @type {(Node | string)[]} */
  const pieces = [];
  let at = 0;
  for (const { start, words, name } of found) {
    pieces.push(text.slice(at, start), term(name, words));
    at = start + words.length;
  }
  return [...pieces, text.slice(at)];
}

/** @param {Term} entry */
function termDrawing({ grid = [], lines, dashes }) {
  const drawing = shape("svg", { viewBox: "0 0 60 40", "aria-hidden": "true" });
  const side = grid.length ? Math.min(60 / grid[0].length, 40 / grid.length) : 0;
  grid.forEach((row, down) => {
    [...row].forEach((heat, across) => {
      if (heat === " ") return;
      const place = { x: across * side + 0.3, y: down * side + 0.3, width: side - 0.6, height: side - 0.6, rx: 0.8 };
      drawing.append(
        shape("rect", { ...place, class: "va-cold" }),
        shape("rect", { ...place, class: "va-hot", opacity: Number(heat) / 9 }),
      );
    });
  });
  if (lines) drawing.append(shape("path", { d: lines, class: "va-lines" }));
  if (dashes) drawing.append(shape("path", { d: dashes, class: "va-dashes" }));
  return drawing;
}

/**
 * The popover that explains the terms inside the viewer.
 * @param {{root: HTMLElement, id: string}} viewer
 */
export function explanationsOf({ root, id }) {
  const box = element("div", { class: "va-explanation", role: "tooltip", id: `${id}-term`, hidden: true });
  /** @type {HTMLElement | null} */
  let open = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let waiting;

  const close = () => {
    clearTimeout(waiting);
    open?.removeAttribute("aria-describedby");
    open = null;
    box.hidden = true;
  };

  /** @param {HTMLElement} word */
  const show = (word) => {
    clearTimeout(waiting);
    if (open === word) return;
    close();
    const entry = TERMS[word.dataset.term ?? ""];
    if (!entry) return;
    open = word;
    word.setAttribute("aria-describedby", box.id);
    box.replaceChildren(
      termDrawing(entry),
      element("div", {}, element("strong", {}, entry.title), element("p", {}, entry.words)),
    );
    box.hidden = false;
    const [frame, spot] = [root.getBoundingClientRect(), word.getBoundingClientRect()];
    const left = Math.min(Math.max(spot.left - frame.left - 12, 8), Math.max(8, frame.width - box.offsetWidth - 8));
    const below = spot.bottom + box.offsetHeight + 10 < window.innerHeight || spot.top < box.offsetHeight + 10;
    box.style.left = `${left}px`;
    box.style.top = `${below ? spot.bottom - frame.top + 6 : spot.top - frame.top - box.offsetHeight - 6}px`;
  };

  /**
   * @param {Event} event
   * @returns {HTMLElement | null}
   */
  const wordOf = (event) => (event.target instanceof Element ? event.target.closest(".va-term") : null);

  root.addEventListener("pointerover", (event) => {
    const word = wordOf(event);
    clearTimeout(waiting);
    if (event.pointerType !== "mouse" || (event.target instanceof Node && box.contains(event.target))) return;
    if (word) waiting = setTimeout(() => show(word), OPEN_MS);
    else if (open) waiting = setTimeout(close, CLOSE_MS);
  });
  root.addEventListener("pointerleave", () => {
    if (open) waiting = setTimeout(close, CLOSE_MS);
  });
  root.addEventListener("focusin", (event) => {
    const word = wordOf(event);
    if (!word) close();
    else if (word.matches(":focus-visible")) show(word);
  });
  root.addEventListener("focusout", (event) => wordOf(event) && close());
  root.addEventListener("click", (event) => {
    const word = wordOf(event);
    if (word) show(word);
    else if (open && !(event.target instanceof Node && box.contains(event.target))) close();
  });
  root.addEventListener("keydown", (event) => event.key === "Escape" && close());
  return box;
}
