// @ts-check
// Part of an explorer's output in a notebook, for readers to whom no widget appears: the explorer itself on a page that
// holds its state, as nbconvert writes it, even without a network; else its picture.

const WIDGET_MS = 3000; // then no widget is on its way

/** @typedef {{state: Record<string, any>, buffers?: {path: string[], data: string}[]}} Saved */

/** @param {string} id   of the widget's model */
export function showWithoutWidget(id) {
  const show = () => {
    const place = /** @type {HTMLElement | null} */ (document.querySelector(`[data-va-still="${id}"]`));
    if (!place || document.querySelector(`[data-va-model="${id}"]`)) return;
    const saved = savedModel(id);
    if (saved) return void startSaved(place, saved);
    const image = document.createElement("img");
    image.alt = "The explorer's picture";
    image.src = `data:image/png;base64,${place.dataset.png}`;
    // it is there already where the widget's output became its picture
    if (![...document.images].some(({ src }) => src === image.src)) place.replaceChildren(image);
  };
  const wait = () => setTimeout(show, WIDGET_MS);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", wait);
  else wait();
}

/** @param {string} id @returns {Saved | undefined} */
function savedModel(id) {
  const scripts = document.querySelectorAll('script[type="application/vnd.jupyter.widget-state+json"]');
  return [...scripts].map((script) => JSON.parse(script.textContent ?? "{}").state?.[id]).find(Boolean);
}

/** @param {HTMLElement} place @param {Saved} saved */
async function startSaved(place, { state, buffers = [] }) {
  for (const { path, data } of buffers) {
    const bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
    const last = /** @type {string} */ (path.pop());
    path.reduce((inner, step) => inner[step], state)[last] = new DataView(bytes.buffer);
  }
  const style = document.createElement("style");
  style.textContent = state._css;
  document.head.append(style);
  const module = await import(URL.createObjectURL(new Blob([state._esm], { type: "text/javascript" })));
  const model = {
    get: (/** @type {string} */ name) => state[name],
    set: (/** @type {string} */ name, /** @type {unknown} */ value) => void Object.assign(state, { [name]: value }),
    save_changes() {},
    send() {},
    on() {},
    off() {},
    widget_manager: { kernel: null },
  };
  module.default.render({ model, el: place });
}
