// @ts-check
// Finding classes by probability and by the names that people use.

/** Number of predicted classes that a class picker offers before all others. */
const PREDICTIONS = 10;

/**
 * The numbers of the most probable classes, most probable first; ties go to the lower number.
 *
 * @param {Float32Array} probabilities (classes,)
 * @param {number} [count]
 * @returns {number[]}
 */
export function likelyClasses(probabilities, count = PREDICTIONS) {
  const numbers = Array.from(probabilities, (_, number) => number);
  return numbers.sort((one, other) => probabilities[other] - probabilities[one]).slice(0, count);
}

/**
 * The numbers of the classes that a text finds: the class of that name or number, then those in whose name it is a
 * word, starts a word, or is inside one; among equals the likelier first, then the lower number.
 *
 * @param {string[]} names of all classes
 * @param {string} text case and the way words are joined are ignored
 * @param {number} count largest number of results
 * @param {Float32Array | number[]} [probabilities] of the classes
 * @returns {number[]}
 */
export function searchClasses(names, text, count, probabilities = []) {
  const wanted = classKey(text);
  if (!wanted) return [];
  /** @type {number[][]} */
  const ranks = [[], [], [], []];
  names.forEach((name, number) => {
    const rank = String(number) === wanted ? 0 : rankOf(classKey(name), wanted);
    ranks[rank]?.push(number);
  });
  /** @param {number} one @param {number} other */
  const likelier = (one, other) => (probabilities[other] ?? 0) - (probabilities[one] ?? 0);
  return ranks.flatMap((rank) => rank.sort(likelier)).slice(0, count);
}

/**
 * @param {string} key of a class
 * @param {string} wanted
 * @returns {number} 0 for the name itself, then 1 for a word of it, 2 for a word's start, 3 for the inside; -1 for none
 */
function rankOf(key, wanted) {
  if (key === wanted) return 0;
  let best = -1;
  for (let at = key.indexOf(wanted); at >= 0 && at < key.length; at = key.indexOf(wanted, at + 1)) {
    const starts = at === 0 || !isLetter(key[at - 1]);
    const ends = at + wanted.length === key.length || !isLetter(key[at + wanted.length]);
    const rank = !starts ? 3 : ends ? 1 : 2;
    if (best < 0 || rank < best) best = rank;
  }
  return best;
}

/** @param {string} character @returns {boolean} whether it belongs to a word */
function isLetter(character) {
  return /[\p{L}\p{M}\p{N}]/u.test(character);
}

/**
 * The form in which names are compared: without case, the way words are joined, or a trailing WordNet id.
 *
 * @param {string} name
 * @returns {string}
 */
function classKey(name) {
  return name
    .replace(/ \(n\d{8}\)$/, "")
    .replace(/[\s_-]+/g, " ")
    .trim()
    .toLowerCase();
}
