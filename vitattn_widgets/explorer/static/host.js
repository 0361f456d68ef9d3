// @ts-check
// The notebook's host: anywidget's model mirrors the traits of the Python explorer. What the user moves is drawn at
// once; Python hears of it when it rests. Without a kernel all that is here goes on working.

import { VIEW_FIELDS } from "../../viewer/static/engine/settings.js";
import { mount } from "../../viewer/static/viewer.js";

/** @typedef {import("../../viewer/static/parts/types.js").Host} Host */
/** @typedef {import("../../viewer/static/parts/types.js").State} State */
/** @typedef {{id: string, error?: string, kept?: boolean, name?: string, mime?: string, facts?: object}} Reply */
/** @typedef {{reply: Reply, content: ArrayBuffer | null}} Answered */

/**
 * @typedef {Object} Model   The part of anywidget's model that is used here.
 * @property {(name: string) => any} get
 * @property {(name: string, value: unknown) => void} set
 * @property {() => void} save_changes
 * @property {(content: object, callbacks: undefined, buffers: ArrayBuffer[]) => void} send
 * @property {(event: string, listener: (...args: any[]) => void) => void} on
 * @property {(event: string, listener: (...args: any[]) => void) => void} off
 * @property {any} widget_manager
 */

const FIELDS = ["model", "picture", "arrangement", ...VIEW_FIELDS, "panels", "panel_scale", "difference"];
const NEEDS = ["operands", "row", "maps", "colors", "answers", "direct", "silenced"]; // of requests; what the last one of each gave is a trait
const REST_MS = 150; // a control that was not moved for so long rests
const KERNEL_PATIENCE_MS = 3000; // then it is asked whether a kernel is still there
const PART_BYTES = 1 << 20; // notebook servers refuse large messages

const NO_KERNEL = "This needs Python, and no kernel answers: run the notebook again.";

/**
 * A host over the model of a widget.
 *
 * @param {Model} model
 * @returns {{host: Host, stop: () => void}}
 */
function hostOf(model) {
  /** @type {[string, (...args: any[]) => void][]} */
  const listening = [];
  /** @param {string} event @param {(...args: any[]) => void} listener */
  const listen = (event, listener) => {
    model.on(event, listener);
    listening.push([event, listener]);
    return () => model.off(event, listener);
  };

  // --- settings: what was moved here wins over what comes in until Python has heard of it ---

  /** @type {Record<string, unknown>} */
  const moved = {};
  let writing = false;
  let timer = 0;
  /** @param {Record<string, unknown>} values */
  const setAll = (values) => {
    writing = true;
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    writing = false;
  };
  const flush = () => {
    clearTimeout(timer);
    if (!Object.keys(moved).length) return;
    setAll(moved); // again, as an older value may have come back in the meantime
    for (const name of Object.keys(moved)) delete moved[name];
    hasKernel(model).then((there) => there && model.save_changes());
  };
  /** @param {Record<string, unknown>} changes */
  const write = (changes) => {
    Object.assign(moved, changes);
    setAll(changes);
    clearTimeout(timer);
    timer = window.setTimeout(flush, "model" in changes || "picture" in changes ? 0 : REST_MS);
  };
  /** @param {(changes: Partial<State>) => void} listener */
  const subscribe = (listener) => {
    /** @type {Record<string, unknown>} */
    let news = {};
    const deliver = () => {
      const changes = news;
      news = {};
      if (Object.keys(changes).length) listener(changes);
    };
    const stops = FIELDS.map((name) =>
      listen(`change:${name}`, () => {
        if (writing || name in moved) return;
        news[name] = model.get(name);
        queueMicrotask(deliver); // all changes of one message together
      }),
    );
    return () => stops.forEach((stop) => void stop());
  };
  const read = () => /** @type {State} */ (Object.fromEntries(FIELDS.map((name) => [name, model.get(name)])));

  // --- questions to Python: a message with an id, answered by a message or, what notebooks keep, by a trait ---

  /** @type {Map<string, {resolve: (answered: Answered) => void, reject: (error: Error) => void}>} */
  const waiting = new Map();
  const view = Math.random().toString(36).slice(2); // several views may share a model
  let questions = 0;
  /** @param {object} content @param {(ArrayBuffer | null)[]} [parts] */
  const ask = async (content, parts = [null]) => {
    if (!(await hasKernel(model))) throw new Error(NO_KERNEL);
    questions += 1;
    const id = `${view}-${questions}`;
    /** @type {Promise<Answered>} */
    const answered = new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
    const patience = window.setInterval(async () => {
      if (!(await hasKernel(model))) waiting.get(id)?.reject(new Error(NO_KERNEL));
    }, KERNEL_PATIENCE_MS);
    try {
      for (const [number, part] of parts.entries()) {
        model.send({ ...content, id, last: number === parts.length - 1 }, undefined, part ? [part] : []);
      }
      return await answered;
    } finally {
      clearInterval(patience);
      waiting.delete(id);
    }
  };
  listen("msg:custom", (/** @type {Reply} */ reply, /** @type {DataView[]} */ buffers) => {
    const question = waiting.get(reply.id);
    if (reply.error) question?.reject(new Error(reply.error));
    else if (!reply.kept) question?.resolve({ reply, content: buffers?.length ? bufferOf(buffers[0]) : null });
  });
  for (const need of NEEDS) {
    listen(`change:_${need}`, () => {
      const { id, content } = model.get(`_${need}`);
      if (waiting.has(id)) waiting.get(id)?.resolve({ reply: { id }, content: take(id, content) });
    });
  }
  /** @type {Set<string>} the kept answers that this view has */
  const taken = new Set();
  /** @param {string} id @param {DataView} content */
  const take = (id, content) => {
    taken.add(id);
    return bufferOf(content);
  };
  /** @param {object} content */
  const askBytes = async (content) => /** @type {ArrayBuffer} */ ((await ask(content)).content);

  /** @param {string} name @param {string} picture */
  const heldCapsule = (name, picture) => {
    const held = model.get("_capsule");
    return held.model === name && held.picture === picture ? bufferOf(held.content) : null;
  };
  /** @type {Host["capsule"]} */
  const capsule = async (name, picture) => {
    const held = heldCapsule(name, picture);
    if (held) return held;
    flush(); // so that the kernel knows which photo is the current one, whose capsule it sends as a trait
    const { content } = await ask({ kind: "capsule", model: name, picture });
    if (content) return content;
    return new Promise((resolve) => {
      const look = () => {
        const arrived = heldCapsule(name, picture);
        if (!arrived) return;
        stop();
        resolve(arrived);
      };
      const stop = listen("change:_capsule", look);
      look();
    });
  };
  /** @type {Host["more"]} */
  const more = async (name, picture, request) => {
    const { id, content, ...of } = model.get(`_${/** @type {{need: string}} */ (request).need}`) ?? {};
    // kept by a saved notebook or for another view; whatever it holds, the viewer asks again for what it still lacks
    if (of.model === name && of.picture === picture && !taken.has(id)) return take(id, content);
    return askBytes({ kind: "more", model: name, picture, request });
  };

  /** @type {Host} */
  const host = {
    read,
    write,
    subscribe,
    library: () => ({
      models: [],
      pictures: [],
      ...model.get("_menus"),
      note: (!model.get("_busy") && model.get("status")) || model.get("_menus").note || "",
    }),
    onLibrary(listener) {
      const stops = ["_menus", "status"].map((name) => listen(`change:${name}`, () => listener()));
      return () => stops.forEach((stop) => void stop());
    },
    capsule,
    onCapsule(listener) {
      let before = model.get("_capsule");
      return listen("change:_capsule", () => {
        const held = model.get("_capsule");
        if (held.model === before.model && held.picture === before.picture) listener(held.model, held.picture);
        before = held;
      });
    },
    more,
    async upload(file) {
      const content = await file.arrayBuffer();
      const count = Math.max(1, Math.ceil(content.byteLength / PART_BYTES));
      const parts = Array.from({ length: count }, (_, part) =>
        content.slice(part * PART_BYTES, (part + 1) * PART_BYTES),
      );
      return String((await ask({ kind: "upload", name: file.name }, parts)).reply.name);
    },
    async check(name, picture, settings) {
      return (await ask({ kind: "check", state: { ...read(), ...settings, model: name, picture } })).reply.facts;
    },
    async file(what, state) {
      const { reply, content } = await ask({ kind: "file", what, state });
      return { name: reply.name ?? what, mime: reply.mime ?? "", content: content ?? new ArrayBuffer(0) };
    },
    without: "not from a notebook", // the link alone
  };
  const stop = () => {
    flush();
    for (const [event, listener] of listening) model.off(event, listener);
  };
  return { host, stop };
}

/**
 * Whether a kernel may answer: false when it is known to be gone. It may be busy with another cell for long.
 *
 * @param {Model} model
 */
async function hasKernel(model) {
  const manager = model.widget_manager;
  if (manager?.kernel === null || manager?.kernel?.status === "dead") return false;
  try {
    return (await manager.get_model(model.get("_id"))).comm_live !== false;
  } catch {
    return true; // a front end with a model of its own
  }
}

/** @param {DataView} view */
function bufferOf(view) {
  return /** @type {ArrayBuffer} */ (view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

/** @param {{model: Model, el: HTMLElement}} widget */
function render({ model, el }) {
  const root = document.createElement("div");
  root.setAttribute("data-lm-suppress-shortcuts", "true"); // else JupyterLab takes the arrow keys
  root.dataset.vaModel = model.get("_id");
  el.append(root);
  for (const still of document.querySelectorAll(`[data-va-still="${model.get("_id")}"]`)) {
    if (!still.contains(el)) still.replaceChildren();
  }
  const { host, stop } = hostOf(model);
  const { destroy } = mount(root, host);
  return () => {
    stop();
    destroy();
  };
}

export default { render };
