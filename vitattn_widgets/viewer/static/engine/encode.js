// @ts-check
// Names of files.

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./settings.js").MapSettings} MapSettings */

/**
 * A file name, without suffix, that says what the file shows, in characters that every file system accepts.
 *
 * @param {Capsule} capsule
 * @param {MapSettings} settings
 * @param {string} [picture] name or path of the photo
 * @param {string} [model]
 * @returns {string}
 */
export function fileName(capsule, settings, picture = capsule.facts.picture.name, model = capsule.facts.model.name) {
  const source = capsule.source(settings.source);
  const parts = [stem(picture), model, `layer${settings.layer}`];
  if (!source.plain) parts.push(settings.source);
  if (settings.target !== null && !source.no_class) parts.push(`class${settings.target}`);
  if (!source.no_head) parts.push(settings.head === null ? settings.aggregation : `head${settings.head}`);
  else if (source.aggregations.length) parts.push(settings.aggregation);
  return parts.join("-").replace(/[^\p{L}\p{N}_.-]+/gu, "_");
}

/** @param {string} path @returns {string} its last part without the suffix */
function stem(path) {
  const name = path.split("/").filter(Boolean).at(-1) ?? "";
  const dot = name.lastIndexOf(".");
  return dot > 0 && dot < name.length - 1 ? name.slice(0, dot) : name;
}
