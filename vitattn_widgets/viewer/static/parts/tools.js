// @ts-check
// Undo, redo and reset.

import { button, element } from "./dom.js";
import { questionSettings } from "./questions.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */

/** @param {Viewer} viewer */
export function toolsOf(viewer) {
  const { store, root } = viewer;
  const undo = button({ icon: "undo", label: "Undo", class: "va-plain", onclick: () => store.undo() });
  const redo = button({ icon: "redo", label: "Redo", class: "va-plain", onclick: () => store.redo() });
  const reset = button({
    icon: "reset",
    label: "Reset all settings",
    class: "va-plain",
    onclick: () => {
      const now = viewer.now();
      if (!now) return;
      const first = now.capsule.facts.questions[0].name;
      store.change({ ...questionSettings(now.capsule, first), question: first });
    },
  });

  const show = () => {
    undo.disabled = !store.past.length;
    redo.disabled = !store.future.length;
  };
  store.subscribe(show);
  root.addEventListener("keydown", (event) => {
    const writing = event.target instanceof HTMLInputElement && ["text", "search"].includes(event.target.type);
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || writing) return;
    event.preventDefault();
    if (event.shiftKey) store.redo();
    else store.undo();
  });
  show();

  return {
    element: element("div", { class: "va-tools" }, undo, redo, reset),
    update: show,
  };
}
