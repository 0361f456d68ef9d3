// @ts-check
// The strip of photos and the menu of models. A photo is added by a button, by dropping it or by pasting it.

import { button, element, icon, menu, setText } from "./dom.js";
import { sameValue } from "./store.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./types.js").LibraryPicture} LibraryPicture */

const ERROR_MS = 12000;

/** @param {Viewer} viewer */
export function photosOf(viewer) {
  const { host, store } = viewer;
  const strip = element("div", { class: "va-strip", role: "toolbar", "aria-label": "Photos" });
  const models = menu("Model", (model) => store.change({ model }));
  models.element.classList.add("va-model");
  const about = element("p", { class: "va-model-facts" });
  const credit = element("p", { class: "va-credit" });
  const note = element("p", { class: "va-library-note" });
  const uploads = uploadsOf(viewer);
  const shelf = element("div", { class: "va-shelf" }, strip, ...uploads.elements);
  const node = element(
    "header",
    { class: "va-photos" },
    element("div", { class: "va-shelf-row" }, shelf, models.element),
    element("div", { class: "va-photo-facts" }, credit, about),
    note,
    uploads.target,
  );
  /** @type {LibraryPicture[]} */
  let pictures = [];

  /** @param {number} index */
  const focusOn = (index) => {
    const buttons = [...strip.querySelectorAll("button")];
    const next = buttons[Math.min(Math.max(index, 0), buttons.length - 1)];
    for (const one of buttons) one.tabIndex = one === next ? 0 : -1;
    next?.focus();
  };

  strip.addEventListener("keydown", (event) => {
    const at = [...strip.children].indexOf(/** @type {Element} */ (event.target));
    const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: strip.children.length - 1 };
    const next = /** @type {Record<string, number>} */ (steps)[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    focusOn(next);
  });

  // the reason stands on the thumbnail; pressed, it is said in full
  /** @param {LibraryPicture} picture */
  const brokenOf = ({ name, reason }) =>
    element(
      "button",
      {
        type: "button",
        class: "va-photo va-photo-broken",
        "aria-disabled": "true",
        title: reason,
        onclick: () => viewer.say({ kind: "error", text: reason, lasts: ERROR_MS }),
      },
      element("span", { class: "va-photo-reason" }, icon("warn"), element("span", {}, reason)),
      element("span", { class: "va-photo-name" }, name),
    );

  // another photo starts from its own prediction
  /** @param {string} name */
  const show = (name) => {
    if (name !== store.get().picture) store.change({ picture: name, target: null });
  };

  /** @param {LibraryPicture} picture */
  const photoOf = ({ name, thumbnail }) =>
    element(
      "button",
      { type: "button", class: "va-photo", title: name, onclick: () => show(name) },
      thumbnail ? element("img", { src: thumbnail, alt: "" }) : element("span", { class: "va-photo-blank" }),
      element("span", { class: "va-photo-name" }, name),
    );

  const choose = () => {
    const state = store.get();
    const chosen = pictures.findIndex(({ name }) => name === state.picture);
    [...strip.querySelectorAll("button")].forEach((one, index) => {
      if (!pictures[index].reason) one.setAttribute("aria-pressed", String(index === chosen));
      one.tabIndex = index === Math.max(chosen, 0) ? 0 : -1;
    });
    const here = /** @type {HTMLElement | undefined} */ (strip.children[chosen]);
    // scrolls the strip alone: `scrollIntoView` would move the page too
    if (here) strip.scrollLeft = here.offsetLeft - (strip.clientWidth - here.offsetWidth) / 2;
    setText(credit, pictures[chosen]?.credit ?? "");
    models.choose(state.model);
  };

  const fill = () => {
    const library = host.library();
    if (!sameValue(pictures, library.pictures)) {
      pictures = library.pictures;
      strip.replaceChildren(...pictures.map((picture) => (picture.reason ? brokenOf(picture) : photoOf(picture))));
    }
    strip.hidden = pictures.length < 2 && !host.upload;
    setText(note, library.note);
    note.hidden = !library.note;
    models.fill(library.models.map((name) => ({ value: name, label: name })));
    models.element.hidden = library.models.length < 2;
    choose();
  };

  viewer.signal.addEventListener("abort", host.onLibrary(fill));
  viewer.signal.addEventListener(
    "abort",
    store.subscribe((changed) => (changed.has("picture") || changed.has("model")) && choose()),
  );
  fill();

  return {
    element: node,
    /** @param {Now} now */
    update({ capsule, state, changed }) {
      if (!changed.has("capsule")) return;
      const { description } = capsule.facts.model;
      setText(about, strip.hidden ? `${state.picture} · ${description}` : description);
      choose(); // the strip has its size now
    },
  };
}

/**
 * The three ways to add photos. Where the host takes none, a dropped file is answered with a line, so that the browser
 * does not leave the page for it.
 *
 * @param {Viewer} viewer
 */
function uploadsOf({ host, root, signal, store, say }) {
  const target = element(
    "div",
    { class: "va-drop", hidden: true },
    icon("upload"),
    element("span", {}, "Drop the photo to look at it"),
  );
  const input = element("input", {
    type: "file",
    accept: "image/*",
    multiple: true,
    class: "va-hidden",
    tabindex: -1,
    "aria-hidden": "true",
    onchange: async () => {
      await add([...(input.files ?? [])]);
      input.value = "";
    },
  });
  const open = button({
    text: "Add a photo",
    icon: "upload",
    class: "va-upload",
    title: "Or drop or paste one anywhere on the viewer",
    onclick: () => input.click(),
  });

  /** @param {File[]} files */
  const add = async (files) => {
    if (!files.length) return;
    if (!host.upload) {
      say({ kind: "error", text: `Photos cannot be added: ${host.without}.`, lasts: ERROR_MS });
      return;
    }
    let first = "";
    for (const file of files) {
      const close = say({ kind: "progress", text: `Reading ${file.name || "the photo"} ...` });
      try {
        const name = await host.upload(file);
        first ||= name;
      } catch (error) {
        say({ kind: "error", text: error instanceof Error ? error.message : String(error), lasts: ERROR_MS });
      }
      close();
    }
    if (first && !signal.aborted) store.change({ picture: first, target: null });
  };

  /** @param {DragEvent} event */
  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

  root.addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    target.hidden = !host.upload;
  });
  root.addEventListener("dragleave", (event) => {
    if (!(event.relatedTarget instanceof Node && root.contains(event.relatedTarget))) target.hidden = true;
  });
  root.addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    target.hidden = true;
    add([...(event.dataTransfer?.files ?? [])]);
  });
  // a paste goes to what has the focus: with none, to the viewer under the pointer
  document.addEventListener(
    "paste",
    (event) => {
      const inside = event.target instanceof Node && root.contains(event.target);
      const files = [...(event.clipboardData?.files ?? [])].filter(({ type }) => type.startsWith("image/"));
      if (!files.length || !(inside || (event.target === document.body && root.matches(":hover")))) return;
      event.preventDefault();
      add(files);
    },
    { signal },
  );

  return { target, elements: host.upload ? [open, input] : [] };
}
