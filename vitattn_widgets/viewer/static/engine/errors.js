// @ts-check
// Errors whose message a person can act on.

/** Settings that do not exist, or that a capsule does not have. */
export class SettingsError extends Error {
  /** @param {string} message what came, what is possible, what to do next */
  constructor(message) {
    super(message);
    this.name = "SettingsError";
  }
}

/**
 * A value as messages quote it.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function quoted(value) {
  if (typeof value === "string") return `'${value}'`;
  if (Array.isArray(value)) return `(${value.map(quoted).join(", ")})`;
  if (value === null || value === undefined) return "None";
  return String(value);
}
