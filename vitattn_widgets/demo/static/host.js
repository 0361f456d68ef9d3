// @ts-check
// The page: the server's models and samples, the visitor's own photos, and an address that restores the view.

import { mount } from "../../viewer/static/viewer.js";

/** @typedef {import("../../viewer/static/parts/types.js").Host} Host */
/** @typedef {import("../../viewer/static/parts/types.js").Library} Library */
/** @typedef {import("../../viewer/static/parts/types.js").State} State */
/**
 * What `DemoService.open` returns.
 * @typedef {{library: Library, state: Partial<State>, start: Partial<State>, max_upload: number, message: string,
 *   user: string | null}} Opened
 */
/** @typedef {Record<string, string>} Photo   What names a photo to the server. */

const SILENT = "the page's server does not answer";
const REMEMBER_MS = 300; // browsers refuse to rewrite the address many times a second

/** The names under which links keep settings; the values with which the viewer starts are left out. */
const LINKED = "layer head aggregation query arrangement on scale opacity cmap source target sinks blend".split(" ");
const STEPS = ["bilinear", "median", "gaussian"];

/**
 * @param {string} route
 * @param {Record<string, string>} [parameters]
 */
function routeAddress(route, parameters = {}) {
  const address = new URL(route, import.meta.url);
  address.search = String(new URLSearchParams(parameters));
  return address;
}

/**
 * Ask the server.
 * @param {URL} address
 * @param {RequestInit} [options]
 * @returns {Promise<Response>} rejects with a line for the visitor
 */
async function ask(address, options) {
  const response = await fetch(address, options).catch(() => {
    throw new Error(SILENT);
  });
  if (response.ok) return response;
  if (response.status === 401) throw new Error("your login has ended: reload the page to log in again");
  const answer = await response.json().catch(() => ({}));
  throw new Error(typeof answer.detail === "string" ? answer.detail : SILENT);
}

/**
 * @param {string} route
 * @param {object} values
 */
function send(route, values) {
  const headers = { "Content-Type": "application/json" };
  return ask(routeAddress(route), { method: "POST", headers, body: JSON.stringify(values) });
}

/** @param {State["query"]} query */
const queryWord = (query) => (Array.isArray(query) ? query.join() : query);

/**
 * The query string that restores some settings; `open_link` reads it. It names no photo of the visitor's own.
 * @param {Partial<State>} state
 * @param {Partial<State>} start   what the viewer starts with
 * @param {Map<string, Photo>} photos
 */
function linkQuery(state, start, photos) {
  const sampleOf = (/** @type {string} */ picture) => photos.get(picture)?.sample;
  const sample = sampleOf(state.picture ?? "");
  const parts = new URLSearchParams(sample === undefined ? {} : { sample });
  parts.set("model", state.model ?? "");
  for (const name of /** @type {(keyof State)[]} */ (LINKED)) {
    const [value, first] = [state, start].map((one) => queryWord(/** @type {any} */ (one)[name]));
    if (value !== first || name === "layer") parts.set(name, String(value ?? ""));
  }
  const steps = STEPS.filter((step) => state[/** @type {keyof State} */ (step)]);
  if (steps.length < STEPS.length) parts.set("smoothing", steps.join(" "));
  const { panels = [], difference = [] } = state;
  if (panels.length && panels.every(({ picture }) => sampleOf(picture) !== undefined)) {
    parts.set("panels", JSON.stringify(panels));
    if (difference.length) parts.set("difference", difference.join());
  }
  return `?${parts}`;
}

/** @param {Opened} opened @returns {Host} */
function pageHost({ library, state: first, start, max_upload: maxBytes, message }) {
  /** @type {Map<string, Photo>} */
  const photos = new Map(library.pictures.map(({ name }) => [name, { sample: name }]));
  /** @type {Set<() => void>} */
  const listeners = new Set();
  const nothing = () => {};
  let state = first;
  let remembering = 0;

  /** @param {string} name */
  const unused = (name) => {
    let free = name;
    for (let number = 2; photos.has(free); number += 1) free = `${name} (${number})`;
    return free;
  };
  /** @param {string} model @param {string} picture */
  const subject = (model, picture) => ({ model, ...photos.get(picture) });
  /** @param {Partial<State>} shown */
  const link = (shown) => location.href.split(/[?#]/)[0] + linkQuery(shown, start, photos);

  return {
    without: SILENT,
    message,
    read: () => state,
    write(changes) {
      state = { ...state, ...changes };
      clearTimeout(remembering);
      remembering = setTimeout(() => history.replaceState(history.state, "", link(state)), REMEMBER_MS);
    },
    subscribe: () => nothing,
    library: () => library,
    onLibrary(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    capsule: async (model, picture) => (await ask(routeAddress("capsule", subject(model, picture)))).arrayBuffer(),
    more: async (model, picture, request) =>
      (await send("more", { ...subject(model, picture), request })).arrayBuffer(),
    check: async (model, picture, settings) => (await send("check", { ...subject(model, picture), settings })).json(),
    async upload(file) {
      const name = file.name || "photo";
      if (file.size > maxBytes) {
        throw new Error(`${name}: at most ${(maxBytes / 2 ** 20).toFixed(1)} MB are accepted; scale the picture down`);
      }
      const address = routeAddress("upload", { name, model: state.model ?? "" });
      const { thumbnail, ...photo } = await (await ask(address, { method: "POST", body: file })).json();
      const free = unused(photo.name);
      photos.set(free, photo);
      library.pictures = [...library.pictures, { name: free, thumbnail, reason: "", credit: "" }];
      for (const listener of listeners) listener();
      return free;
    },
    async file(what, { model, picture, panels: _, ...settings }) {
      const answer = await send("file", { ...subject(model, picture), settings, what });
      const name = decodeURIComponent(answer.headers.get("Content-Disposition")?.split("''")[1] ?? what);
      return { name, mime: answer.headers.get("Content-Type") ?? "", content: await answer.arrayBuffer() };
    },
    link,
  };
}

/** The style, which lies beside this script under the same version. */
function loadStyle() {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = routeAddress("viewer.css", Object.fromEntries(new URL(import.meta.url).searchParams)).href;
  document.head.append(style);
  return new Promise((resolve) => {
    style.onload = style.onerror = resolve;
  });
}

/** @param {HTMLElement} element */
function offerLogout(element) {
  const out = document.createElement("a");
  out.href = new URL("logout", document.baseURI).href;
  out.textContent = "Log out";
  element.querySelector(".va-page-note")?.append(" ", out, ".");
}

/**
 * Put the viewer into Gradio's component.
 * @param {HTMLElement} element
 */
export async function openPage(element) {
  const page = element.querySelector(".va-page");
  if (!page) return;
  try {
    const query = Object.fromEntries(new URLSearchParams(location.search));
    const [answer] = await Promise.all([ask(routeAddress("open", query)), loadStyle()]);
    const root = document.createElement("div");
    root.className = "va-viewer";
    page.replaceChildren(root);
    const opened = await answer.json();
    mount(root, pageHost(opened));
    if (opened.user) offerLogout(element);
  } catch (error) {
    page.textContent = error instanceof Error ? error.message : String(error);
  }
}
