// @ts-check
// The page: the server's models and samples, the visitor's own photos, and an address that restores the view.

import { mount } from "../../viewer/static/viewer.js";
import { keep, recall } from "./own.js";

/** @typedef {import("../../viewer/static/parts/types.js").Host} Host */
/** @typedef {import("../../viewer/static/parts/types.js").Library} Library */
/** @typedef {import("../../viewer/static/parts/types.js").State} State */
/**
 * What `DemoService.open` returns.
 * @typedef {{library: Library, state: Partial<State>, start: Partial<State>, max_upload: number, message: string,
 *   user: string | null, classroom: boolean}} Opened
 */
/** @typedef {Record<string, string>} Photo   What names a photo to the server. */

const SILENT = "the page's server does not answer";
const FAILED = "the page's server could not do this; try it again, or tell whoever runs it";
const VISITOR = String(Math.random()).slice(2); // of this window, so that the line of checks is fair
const GONE = 410; // the status for a photo that the server does not have, or has no longer
const HERE_MS = 20_000;
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
  const words = typeof answer.detail === "string" ? answer.detail : response.status < 500 ? SILENT : FAILED;
  throw Object.assign(new Error(words), {
    gone: response.status === GONE,
  });
}

/**
 * @param {string} route
 * @param {object} values
 * @param {Record<string, string>} [more]   headers
 */
function send(route, values, more = {}) {
  const headers = { "Content-Type": "application/json", ...more };
  return ask(routeAddress(route), { method: "POST", headers, body: JSON.stringify(values) });
}

/**
 * The result of a check, whose answer says the place in the line until it is there.
 * @param {Response} response
 * @param {(text: string) => void} [waiting]
 */
async function checkResult(response, waiting = () => {}) {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; reader; ) {
    const { done, value } = await reader.read().catch(() => ({ done: true, value: "" }));
    if (done) break;
    const events = (text + value).split("\n\n");
    text = events.pop() ?? "";
    for (const event of events) {
      const { place, result, detail } = JSON.parse(event.slice("data: ".length));
      if (result) return result;
      if (detail) throw new Error(detail);
      waiting(place ? `Waiting to check this map: ${place} before you` : "Checking this map");
    }
  }
  throw new Error(SILENT);
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

/** @param {Opened} opened @param {import("./own.js").OwnPhoto[]} own @returns {Host} */
function pageHost({ library, state: first, start, max_upload: maxBytes, message }, own) {
  /** @type {Map<string, Photo>} */
  const photos = new Map(library.pictures.map(({ name }) => [name, { sample: name }]));
  /** @type {Map<string, File>} the visitor's own, to send them again to a server that was started again */
  const files = new Map();
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
  /** @param {string} name @param {string} thumbnail @param {Photo} photo */
  const add = (name, thumbnail, photo) => {
    photos.set(name, photo);
    library.pictures = [...library.pictures, { name, thumbnail, reason: "", credit: "" }];
  };
  for (const { name, thumbnail, photo } of own) add(name, thumbnail, photo);

  /** @param {File} file */
  const sendPhoto = async (file) => {
    const address = routeAddress("upload", { name: file.name || "photo", model: state.model ?? "" });
    return (await ask(address, { method: "POST", body: file })).json();
  };

  /**
   * Do something with a photo; if the server does not have it any more, send it again.
   * @template T
   * @param {string} picture
   * @param {() => Promise<T>} work
   */
  const again = async (picture, work) => {
    try {
      return await work();
    } catch (error) {
      const file = files.get(picture);
      if (!(/** @type {any} */ (error).gone) || !file) throw error;
      const { thumbnail: _, ...photo } = await sendPhoto(file);
      photos.set(picture, photo);
      remember();
      return work();
    }
  };

  const remember = () => {
    clearTimeout(remembering);
    remembering = setTimeout(() => {
      history.replaceState(history.state, "", link(state));
      const mine = library.pictures.flatMap(({ name, thumbnail }) => {
        const photo = photos.get(name);
        return photo?.photo ? [{ name, thumbnail, photo }] : [];
      });
      keep({ address: location.href, state, own: mine });
    }, REMEMBER_MS);
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
      remember();
    },
    subscribe: () => nothing,
    library: () => library,
    onLibrary(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    capsule: (model, picture) =>
      again(picture, async () => (await ask(routeAddress("capsule", subject(model, picture)))).arrayBuffer()),
    more: (model, picture, request) =>
      again(picture, async () => (await send("more", { ...subject(model, picture), request })).arrayBuffer()),
    check: (model, picture, settings, waiting) =>
      again(picture, async () => {
        const values = { ...subject(model, picture), settings, visitor: VISITOR };
        return checkResult(await send("check", values, { Accept: "text/event-stream" }), waiting);
      }),
    async upload(file) {
      const name = file.name || "photo";
      if (file.size > maxBytes) {
        throw new Error(`${name}: at most ${(maxBytes / 2 ** 20).toFixed(1)} MB are accepted; scale the picture down`);
      }
      const { thumbnail, ...photo } = await sendPhoto(file);
      const free = unused(photo.name);
      files.set(free, file);
      add(free, thumbnail, photo);
      for (const listener of listeners) listener();
      return free;
    },
    async file(what, { model, picture, panels: _, ...settings }) {
      const answer = await again(picture, () => send("file", { ...subject(model, picture), settings, what }));
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

/**
 * After a reload: the visitor's own photos, and the settings as they stood. Says which photos the server has no longer.
 * @param {Opened} opened
 */
async function restore(opened) {
  const kept = recall();
  const keys = kept.own.map(({ photo }) => photo.photo);
  const { present = [] } = keys.length ? await (await send("present", { photos: keys })).json() : {};
  const own = kept.own.filter(({ photo }) => present.includes(photo.photo));
  const lost = kept.own.filter(({ photo }) => !present.includes(photo.photo)).map(({ name }) => name);
  if (lost.length) {
    const message = `${lost.join(", ")}: no longer on the server, so add it again`;
    opened.message = [opened.message, message].filter(Boolean).join(". ");
  }
  if (kept.address === location.href) {
    const names = [...opened.library.pictures, ...own].map(({ name }) => name);
    const { picture = "", panels = [], model = "" } = kept.state;
    const whole = [picture, ...panels.map((panel) => panel.picture)].every((name) => names.includes(name));
    if (whole && opened.library.models.includes(model)) opened.state = { ...opened.state, ...kept.state };
  }
  return own;
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
    const own = await restore(opened);
    mount(root, pageHost(opened, own));
    if (opened.user) offerLogout(element);
    if (opened.classroom) {
      const here = () => send("here", { visitor: VISITOR }).catch(() => {}); // counted on the projector's page
      setInterval(here, HERE_MS);
      here();
    }
  } catch (error) {
    page.textContent = error instanceof Error ? error.message : String(error);
  }
}
