// @ts-check
// The viewer's settings with their history. The door's host hears of every change; what it changes comes in here too.

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Host} Host */
/** @typedef {(changed: Set<string>) => void} Listener */
/** @typedef {{changes: Partial<State>, former: Partial<State>, time: number}} Step */

const TOGETHER_MS = 700; // moves of one control closer than this are one step of the history
const MAX_STEPS = 200;

/** Settings of the viewer alone, of which the host does not hear. */
const OWN_FIELDS = new Set(["question"]);

/**
 * @param {unknown} one
 * @param {unknown} other
 */
export function sameValue(one, other) {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}

export class Store {
  /**
   * @param {State} start
   * @param {Pick<Host, "write">} host
   */
  constructor(start, host) {
    this.state = { ...start };
    this.host = host;
    /** @type {Step[]} */
    this.past = [];
    /** @type {Step[]} */
    this.future = [];
    /** @type {Set<Listener>} */
    this.listeners = new Set();
    /** @type {(next: State, chosen: Set<string>) => State} fits settings to the photo and the model; `chosen` by the user */
    this.fit = (next) => next;
  }

  /**
   * Fill in what the door did not set.
   * @param {Partial<State>} defaults
   */
  start(defaults) {
    this.receive({ ...defaults, ...this.state });
  }

  /** @returns {Readonly<State>} */
  get() {
    return this.state;
  }

  /**
   * The user moved something: the host and the listeners hear of what is new.
   * @param {Partial<State>} changes
   * @param {{undoable?: boolean}} [options]
   */
  change(changes, { undoable = true } = {}) {
    const [news, former] = this.#differences(changes, new Set(Object.keys(changes)));
    if (undoable && Object.keys(news).length) this.#remember(news, former);
    this.#set(news, news);
  }

  /**
   * Something changed outside: there is nothing to undo, and the host hears only of what had to be fitted.
   * @param {Partial<State>} changes
   */
  receive(changes) {
    const [news] = this.#differences(changes, new Set());
    const own = Object.entries(news).filter(([name, value]) => !sameValue(value, /** @type {any} */ (changes)[name]));
    this.#set(news, Object.fromEntries(own));
  }

  undo() {
    const step = this.past.pop();
    if (!step) return;
    this.future.push(step);
    this.#set(step.former, step.former);
  }

  redo() {
    const step = this.future.pop();
    if (!step) return;
    this.past.push(step);
    this.#set(step.changes, step.changes);
  }

  /**
   * @param {Listener} listener
   * @returns {() => void} stops listening
   */
  subscribe(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /**
   * @param {Partial<State>} changes
   * @param {Set<string>} chosen
   * @returns {[Partial<State>, Partial<State>]} what is new, and what it replaces
   */
  #differences(changes, chosen) {
    const next = this.fit({ ...this.state, ...changes }, chosen);
    const [then, now] = /** @type {Record<string, any>[]} */ ([next, this.state]);
    const names = Object.keys(next).filter((name) => !sameValue(now[name], then[name]));
    /** @param {Record<string, any>} from */
    const only = (from) => Object.fromEntries(names.map((name) => [name, from[name]]));
    return [only(then), only(now)];
  }

  /**
   * @param {Partial<State>} changes
   * @param {Partial<State>} former
   */
  #remember(changes, former) {
    this.future = [];
    const last = this.past.at(-1);
    const time = performance.now();
    const names = Object.keys(changes).join();
    if (last && Object.keys(last.changes).join() === names && time - last.time < TOGETHER_MS) {
      Object.assign(last, { changes, time });
      return;
    }
    this.past.push({ changes, former, time });
    if (this.past.length > MAX_STEPS) this.past.shift();
  }

  /**
   * @param {Partial<State>} changes
   * @param {Partial<State>} told   what of it the host does not know
   */
  #set(changes, told) {
    if (!Object.keys(changes).length) return;
    this.state = { ...this.state, ...changes };
    const written = Object.entries(told).filter(([name]) => !OWN_FIELDS.has(name));
    if (written.length) this.host.write(Object.fromEntries(written));
    const changed = new Set(Object.keys(changes));
    for (const listener of this.listeners) listener(changed);
  }
}
