// The engine's words for test_words.py.

import { fillIn } from "../../vitattn_widgets/viewer/static/engine/captions.js";
import { likelyClasses, searchClasses } from "../../vitattn_widgets/viewer/static/engine/classes.js";
import { fileName } from "../../vitattn_widgets/viewer/static/engine/encode.js";
import { fixed, percent, pythonFloat, pythonValue, threeDigits } from "../../vitattn_widgets/viewer/static/engine/formats.js";
import { sum32 } from "../../vitattn_widgets/viewer/static/engine/numbers.js";

/** A number in every form. */
function forms(value) {
  return [fixed(value, 2), percent(value, 1), percent(value, 0), threeDigits(value), pythonFloat(value)];
}

function fileNames(cases) {
  return cases.map(([source, settings, picture, model]) => fileName({ source: () => source }, settings, picture, model));
}

globalThis.words = {
  forms: (values) => values.map(forms),
  codes: (values) => values.map(pythonValue),
  sums: (all) => all.map((values) => sum32(Float32Array.from(values))),
  likely: (probabilities, count) => likelyClasses(Float32Array.from(probabilities), count),
  fillIn,
  fileNames,
  searchClasses,
};
