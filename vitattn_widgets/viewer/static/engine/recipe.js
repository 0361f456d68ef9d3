// @ts-check
// A picture's recipe: as JSON to keep, and as a few lines of Python to learn from.

import { pythonFloat, pythonValue } from "./formats.js";
import { DEFAULTS, VIEW_FIELDS } from "./settings.js";

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./settings.js").Settings} Settings */

/** The line of code for a target that is a direction, whose origin a capsule does not know. */
const LIKENESS = "capture = va.capture.add_direction(model, capture, like)  # another capture, a patch or a vector";

/**
 * Everything needed to make a picture again, as `make_recipe` writes it.
 *
 * @param {Capsule} capsule of a file: others leave recipes to Python
 * @param {Settings} settings
 * @param {string} arrangement "overlay", "map" or "side by side"
 * @returns {string} JSON
 */
export function recipeOf(capsule, settings, arrangement) {
  const { recipe } = capsule.facts;
  const own = Object.fromEntries(VIEW_FIELDS.map((name) => [name, settings[name]]));
  return JSON.stringify({ ...recipe, settings: { ...recipe?.settings, ...own }, arrangement }, null, 2);
}

/**
 * A few lines of Python that make a picture; a comment says so if its weights or photo have no name.
 *
 * @param {Capsule} capsule
 * @param {Settings} settings
 * @param {string} [arrangement] "overlay", "map" or "side by side"
 * @returns {string}
 */
export function pythonCode(capsule, settings, arrangement = "overlay") {
  const { model, picture } = capsule.facts;
  const photo = picture.path === null ? "your_picture" : pythonValue(picture.path);
  const comment = picture.path === null ? "  # the picture has no path" : "";
  // unless the map is an overlay, no photo shows through
  const arranged = arrangement === "overlay" ? settings : { ...settings, opacity: 1 };
  const lines = [
    ...model.code,
    `capture = va.capture_attention(model, ${photo})${comment}`,
    `settings = va.ViewSettings(${changedSettings(arranged)})`,
  ];
  const { norms, no_class } = capsule.source(settings.source);
  if (!no_class && capsule.isDirection(settings.target)) lines.push(LIKENESS);
  if (norms || !no_class) lines.push("capture = va.complete_capture(model, capture, settings)");
  const beside = arrangement === "side by side";
  const drawing = beside
    ? `render_arranged(capture, settings, ${pythonValue(arrangement)})`
    : "render_view(capture, settings)";
  return [...lines, `picture = va.${beside ? "view." : ""}${drawing}`].join("\n");
}

/** @param {Settings} settings @returns {string} the settings that differ from the defaults, and the layer */
function changedSettings(settings) {
  const changed = VIEW_FIELDS.filter((name) => name === "layer" || settings[name] !== DEFAULTS[name]);
  const codes = changed.map((name) => {
    const value = name === "opacity" ? pythonFloat(settings.opacity) : pythonValue(settings[name]);
    return `${name}=${value}`;
  });
  return codes.join(", ");
}
