// @ts-check
// What a window remembers of its visitor's own photos, so that they are there after a reload. Nothing leaves the window.

/** @typedef {import("../../viewer/static/parts/types.js").State} State */
/** @typedef {{name: string, thumbnail: string, photo: Record<string, string>}} OwnPhoto */
/** @typedef {{address: string, state: Partial<State>, own: OwnPhoto[]}} Kept */

const KEY = `vitattn ${location.pathname}`;

/** @returns {Kept} what this window kept; nothing if it kept nothing, or may not */
export function recall() {
  try {
    return { address: "", state: {}, own: [], ...JSON.parse(sessionStorage.getItem(KEY) ?? "{}") };
  } catch {
    return { address: "", state: {}, own: [] };
  }
}

/** @param {Kept} kept */
export function keep(kept) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    // full or forbidden: then a reload starts anew
  }
}
