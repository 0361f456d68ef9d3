// @ts-check
// The capsules of the photos and models looked at, and what the host adds to them. Each thing is asked for once.

import { missing } from "../engine/attribution.js";
import { Capsule } from "../engine/capsule.js";

/** @typedef {import("./types.js").Host} Host */
/** @typedef {import("./types.js").Settings} Settings */
/** @typedef {import("./types.js").State} State */

const KEPT_CAPSULES = 24;
const MAX_REQUESTS = 40; // for one map; more is a mistake, not a map

/** @param {Host} host */
export function capsulesOf(host) {
  /** @type {Map<string, Promise<Capsule>>} */
  const asked = new Map();
  /** @type {Map<string, Capsule>} */
  const ready = new Map();
  /** @type {Map<string, Promise<void>>} */
  const requests = new Map();

  /**
   * @param {string} model
   * @param {string} picture
   */
  const keyOf = (model, picture) => JSON.stringify([model, picture]);

  /**
   * @param {string} model
   * @param {string} picture
   * @returns {Promise<Capsule>}
   */
  const capsuleOf = (model, picture) => {
    const key = keyOf(model, picture);
    const known = asked.get(key);
    if (known) return known;
    const coming = host.capsule(model, picture).then((content) => {
      const capsule = new Capsule(content);
      if (asked.get(key) === coming) ready.set(key, capsule);
      return capsule;
    });
    asked.set(key, coming);
    coming.catch(() => asked.delete(key)); // so that it can be tried again
    for (const old of asked.keys()) {
      if (asked.size <= KEPT_CAPSULES) break;
      asked.delete(old);
      ready.delete(old);
    }
    return coming;
  };

  /**
   * @param {string} model
   * @param {string} picture
   * @param {Capsule} capsule
   * @param {object} request
   * @returns {Promise<void>}
   */
  const ask = (model, picture, capsule, request) => {
    const key = keyOf(model, picture) + JSON.stringify(request);
    const known = requests.get(key);
    if (known) return known;
    const coming = host.more(model, picture, request).then((content) => capsule.add(content));
    requests.set(key, coming);
    return coming.finally(() => requests.delete(key));
  };

  return {
    capsuleOf,
    /**
     * The capsule if it is here already.
     * @param {string} model
     * @param {string} picture
     */
    readyCapsule: (model, picture) => ready.get(keyOf(model, picture)) ?? null,
    /**
     * Drop a capsule, which the host has another one of.
     * @param {string} model
     * @param {string} picture
     */
    forget(model, picture) {
      asked.delete(keyOf(model, picture));
      ready.delete(keyOf(model, picture));
    },
    ask,
    /**
     * Ask the host for a tensor that is no map's.
     * @param {State} state   of the photo and the model
     * @param {Capsule} capsule
     * @param {object} request
     * @param {string} tensor   which the answer holds
     * @returns {Promise<void>} rejects with a line for the user
     */
    async complete({ model, picture }, capsule, request, tensor) {
      // a saved notebook first answers with what it kept, perhaps of another class
      for (let count = 0; count < 3 && !capsule.has(tensor); count += 1) await ask(model, picture, capsule, request);
      if (!capsule.has(tensor)) throw new Error("the answer does not hold what was asked for; load the page again");
    },
    /**
     * Ask the host for all that a map lacks.
     * @param {string} model
     * @param {string} picture
     * @param {Capsule} capsule
     * @param {Settings} settings
     * @returns {Promise<void>} rejects with a line for the user
     */
    async supply(model, picture, capsule, settings) {
      for (let count = 0; count < MAX_REQUESTS; count += 1) {
        const request = missing(capsule, settings);
        if (!request) return;
        await ask(model, picture, capsule, request);
      }
      throw new Error("this map needs more than the answers hold");
    },
  };
}
