// @ts-check
// Where the parts stand: three columns, two, or one with a picture that stays in sight. The widths are the viewer's own.

import { button, element } from "./dom.js";

/** @typedef {import("./types.js").Viewer} Viewer */

const NARROW = 720; // pixels; the same number stands in narrow.css

/** @type {Record<string, {text: string, icon: string}>} */
const DRAWERS = {
  compare: { text: "Compare", icon: "compare" },
  heads: { text: "Heads", icon: "cells" },
  check: { text: "Check", icon: "check" },
  keep: { text: "Keep", icon: "save" },
};

/** The drawers: one is open at a time. */
export function drawersOf() {
  /** @type {Set<() => void>} */
  const listeners = new Set();
  /** @type {Record<string, HTMLElement>} */
  const panels = {};
  let current = "";

  const buttons = Object.entries(DRAWERS).map(([name, words]) => {
    const one = button({ ...words, class: "va-drawer-button", onclick: () => open(current === name ? "" : name) });
    one.dataset.drawer = name;
    one.setAttribute("aria-expanded", "false");
    return one;
  });
  const body = element("div", { class: "va-drawer", hidden: true });

  /** @param {string} name */
  const open = (name) => {
    if (name === current) {
      if (name) body.scrollIntoView({ block: "start" });
      return;
    }
    current = name;
    for (const one of buttons) one.setAttribute("aria-expanded", String(one.dataset.drawer === name));
    for (const [key, panel] of Object.entries(panels)) panel.hidden = key !== name;
    body.hidden = !name;
    for (const listener of listeners) listener();
    if (name) body.scrollIntoView({ block: body.closest(".va-narrow") ? "start" : "nearest" });
  };

  return {
    element: element("div", { class: "va-drawers" }, body),
    buttons: element("div", { class: "va-drawer-buttons" }, ...buttons),
    open,
    opened: () => current,
    /** @param {() => void} listener */
    onOpen: (listener) => void listeners.add(listener),
    /** @param {Record<string, HTMLElement>} parts   by the drawer's name */
    fill(parts) {
      for (const [name, part] of Object.entries(parts)) {
        panels[name] = element("section", { "aria-label": DRAWERS[name].text, hidden: true }, part);
        body.append(panels[name]);
      }
    },
  };
}

/**
 * @param {Viewer} viewer
 * @param {Record<string, any> & {words: HTMLElement, drawers: ReturnType<typeof drawersOf>, explanations: HTMLElement}} parts
 * @returns {() => void} empties the root again
 */
export function layoutOf(viewer, parts) {
  const { root } = viewer;
  root.classList.add("va-viewer", "va-empty");
  // Jupyter's shortcuts, some of which look at nothing but the element that has the focus
  const suppress = (/** @type {Element} */ node) => node.setAttribute("data-lm-suppress-shortcuts", "true");
  suppress(root);
  root.addEventListener("focusin", (event) => suppress(/** @type {Element} */ (event.target)), {
    signal: viewer.signal,
  });

  const sticky = element("div", { class: "va-sticky" }, parts.picture.element);
  const left = element("div", { class: "va-left" }, sticky, parts.legend.element, parts.words);
  const map = element("div", {}, parts.questions.line, parts.matrix.element);
  const navigator = element(
    "div",
    { class: "va-navigator" },
    map,
    parts.layers.element,
    parts.lens.element,
    parts.heads.element,
  );
  const side = element("div", { class: "va-side" }, parts.answer.element, parts.more.element, parts.expert.element);
  const body = element(
    "div",
    { class: "va-body", id: `${viewer.id}-body`, role: "tabpanel", "aria-label": "Picture and settings" },
    left,
    parts.drawers.element,
    navigator,
    side,
  );
  const header = element("div", { class: "va-header" }, parts.photos.element, parts.tools.element);
  const frame = element("div", { class: "va-frame" }, header, parts.questions.element, body, parts.explanations);
  root.append(frame);

  // shortcuts of the page around the viewer must not take its keys
  const keep = (/** @type {Event} */ event) => event.stopPropagation();
  for (const kind of ["keydown", "keyup", "keypress"]) root.addEventListener(kind, keep, { signal: viewer.signal });

  const arrange = () => {
    const narrow = root.classList.toggle("va-narrow", root.clientWidth < NARROW);
    if (narrow) sticky.append(parts.layers.element);
    else navigator.insertBefore(parts.layers.element, parts.lens.element);
    (narrow ? parts.words : header).append(parts.tools.element);
    if (narrow) parts.drawers.element.prepend(parts.drawers.buttons);
    else parts.questions.element.append(parts.drawers.buttons);
  };
  let former = Number.NaN;
  const resized = new ResizeObserver(() => {
    const narrow = Number(root.clientWidth < NARROW);
    if (narrow !== former) arrange();
    former = narrow;
  });
  arrange();
  resized.observe(root);
  return () => {
    resized.disconnect();
    frame.remove();
    root.classList.remove("va-viewer", "va-narrow", "va-flat", "va-empty");
  };
}
