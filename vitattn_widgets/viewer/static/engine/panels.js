// @ts-check
// The panels of a comparison, and the titles that distinguish them.

import { fillIn } from "./captions.js";
import { threeDigits } from "./formats.js";
import { resolve } from "./resolve.js";
import { LEFT_OUT } from "./sinks.js";
import { queryWords } from "./tokens.js";

/** @typedef {import("./capsule.js").Capsule} Capsule */
/** @typedef {import("./settings.js").Settings} Settings */

/**
 * @typedef {Object} Panel   One picture of a comparison.
 * @property {Capsule} capsule     with what the settings' source needs (see `missing`)
 * @property {Settings} settings   what to show of it; their scale is without effect, as the panels share one
 * @property {string} name         of its photo, model or checkpoint; may be empty
 */

/**
 * @typedef {Object} Facet   One property of a panel, in words; null stands for one that the panel lacks.
 * @property {string} short      in few words, for a title
 * @property {string} full       in full, for the line that panels share
 * @property {boolean} [marked]  whether a title must name it if other panels lack it
 */

/**
 * Whether two capsules are of the same photo, as far as a screen shows it.
 *
 * @param {Capsule} first
 * @param {Capsule} second
 */
export function samePhoto(first, second) {
  if (first === second) return true;
  const [one, other] = [first, second].map((capsule) => capsule.tensor("photo").data);
  return String(first.facts.picture.size) === String(second.facts.picture.size) && sameBytes(one, other);
}

/** @param {ArrayLike<number>} one @param {ArrayLike<number>} other */
function sameBytes(one, other) {
  if (one.length !== other.length) return false;
  for (let at = 0; at < one.length; at++) if (one[at] !== other[at]) return false;
  return true;
}

/**
 * A short title for each panel, of what differs alone, and one line of what all share.
 *
 * A property that a panel lacks, such as the aggregation of a map without heads, does not distinguish it. Panels with
 * equal titles are numbered.
 *
 * @param {Panel[]} panels
 * @returns {{titles: string[], common: string}} the titles, empty for a single panel, and the line
 */
export function panelTitles(panels) {
  const photos = photoNumbers(panels);
  const own = panels.map(facetsOf);
  const facets = [
    panels.map(({ name }) => facet(name)),
    ...modelFacets(panels, photos),
    photoFacets(panels, photos),
    ...own[0].map((_, place) => own.map((one) => one[place])),
  ];
  /** @type {string[][]} */
  const parts = panels.map(() => []);
  /** @type {string[]} */
  const common = [];
  for (const column of facets) {
    const present = column.filter((one) => one !== null);
    const shorts = new Set(present.map((one) => one.short));
    const fulls = new Set(present.map((one) => one.full));
    if (shorts.size > 1 || (present.length < panels.length && present.some((one) => one.marked))) {
      column.forEach((one, place) => {
        if (one && !parts[place].includes(one.short)) parts[place].push(one.short); // a name may repeat the model's
      });
    } else if (present.length) {
      common.push(...(fulls.size === 1 ? fulls : shorts));
    }
  }
  const titles = parts.map((part) => part.filter(Boolean).join(", "));
  return { titles: panels.length > 1 ? numbered(titles) : [""], common: common.filter(Boolean).join(", ") };
}

/**
 * Title and caption of a difference of at most `largest`: what is subtracted from what, in short and in full.
 *
 * @param {Panel} first
 * @param {Panel} second
 * @param {number} largest
 * @returns {{title: string, caption: string}}
 */
export function differenceWords(first, second, largest) {
  const { titles, common } = panelTitles([first, second]);
  const [one, other] = titles.map((words) => (/[,/]/.test(words) ? `(${words})` : words));
  const title = `${one} minus ${other}`;
  if (!largest) return { title, caption: `${title}: no difference; ${common}` };
  const most = `by up to ${threeDigits(largest)} times the average patch of each map`;
  return { title, caption: `${title}: red is more in ${one}, blue more in ${other}, ${most}; ${common}` };
}

/** @param {string} short @param {string} [full] @returns {Facet} */
function facet(short, full = short) {
  return { short, full };
}

/**
 * Source, layer, head or aggregation, query, class, sinks and smoothing of a panel.
 *
 * @param {Panel} panel
 * @returns {(Facet | null)[]} null for those it lacks
 */
function facetsOf({ capsule, settings }) {
  const { source, layer, heads, ...resolved } = resolve(capsule, settings);
  const { words, layers } = capsule.facts;
  const query = queryWords(resolved.query, words.queries);
  const target = resolved.target === null ? null : capsule.answerWords(resolved.target);
  const kind = capsule.isDirection(resolved.target) ? "" : "class ";
  return [
    facet(source.title),
    facet(`layer ${layer}`, layers[layer].words),
    headsFacet(capsule, settings, resolved.head, heads),
    source.no_query ? null : facet(query, `query: ${query}`),
    target === null ? null : facet(target, `${kind}${target}`),
    LEFT_OUT.includes(settings.sinks) ? facet("without sinks", "sinks left out") : facet("with sinks", ""),
    smoothingFacet(capsule, settings),
  ];
}

/**
 * @param {Capsule} capsule
 * @param {Settings} settings
 * @param {number | null} head
 * @param {number} heads
 * @returns {Facet | null}
 */
function headsFacet(capsule, { source, aggregation }, head, heads) {
  const { no_head, fuses_heads } = capsule.source(source);
  const { titles, formulas } = capsule.facts.words;
  if (head !== null) return { ...facet(`head ${head}`, `head ${head} of 0..${heads - 1}`), marked: true };
  if (!no_head) return facet(titles[aggregation], fillIn(formulas[aggregation], { heads }));
  return fuses_heads ? facet(titles[aggregation], `heads fused by ${aggregation}`) : null;
}

/** @param {Capsule} capsule @param {Settings} settings @returns {Facet} */
function smoothingFacet(capsule, settings) {
  const steps = Object.entries(capsule.facts.words.steps);
  const off = steps.filter(([step]) => !settings[/** @type {"median"} */ (step)]).map(([, title]) => title);
  if (!off.length) return facet("smoothed", "");
  return facet(off.length === steps.length ? "one square per patch" : `without ${off.join(" and ")}`);
}

/**
 * Whether different things always have different names.
 *
 * @param {unknown[]} names
 * @param {unknown[]} things
 */
function distinguish(names, things) {
  const pairs = names.map((name, place) => JSON.stringify([name, things[place]]));
  return new Set(pairs).size === new Set(names.map((name) => JSON.stringify(name))).size;
}

/**
 * Architecture and weights of the panels' models; the weights only if nothing else distinguishes the models.
 *
 * @param {Panel[]} panels
 * @param {number[]} photos
 * @returns {[Facet[], Facet[]]}
 */
function modelFacets(panels, photos) {
  const full = panels.map(({ capsule }) => capsule.facts.model.name);
  const split = full.map(splitName);
  const architectures = split.map(([architecture]) => architecture);
  let weights = split.map(([, own]) => own);
  const names = panels.map(({ name }) => name);
  if (distinguish(architectures, full)) {
    return [architectures.map((one, place) => facet(one, full[place])), panels.map(() => facet(""))];
  }
  // of one photo, names that distinguish the models are the models' names; of several, they are the photos'
  if (new Set(photos).size === 1 && distinguish(names, full)) weights = full.map(() => "");
  else if (!distinguish(split, full)) weights = full;
  return [architectures.map((one) => facet(one)), weights.map((one) => facet(one))];
}

/**
 * Architecture and weights of a model's name: "vit_a.tag", "vit_a (file)", "vit_a.tag (file)".
 *
 * @param {string} name
 * @returns {[string, string]}
 */
function splitName(name) {
  const [published, file] = cut(name.replace(/\)$/, ""), " (");
  const [architecture, tag] = cut(published, ".");
  return architecture ? [architecture, file || tag || architecture] : [name, name];
}

/** @param {string} text @param {string} where @returns {[string, string]} what stands before and after the first one */
function cut(text, where) {
  const at = text.indexOf(where);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + where.length)];
}

/** @param {Panel[]} panels @returns {number[]} the number of the photo that each panel shows, from 0 on */
function photoNumbers(panels) {
  /** @type {Capsule[]} */
  const photos = [];
  return panels.map(({ capsule }) => {
    const known = photos.findIndex((photo) => samePhoto(capsule, photo));
    return known < 0 ? photos.push(capsule) - 1 : known;
  });
}

/** @param {Panel[]} panels @param {number[]} numbers @returns {Facet[]} the photo's number, if names do not tell */
function photoFacets(panels, numbers) {
  const named = distinguish(
    panels.map(({ name }) => name),
    numbers,
  );
  return numbers.map((number) => facet(named ? "" : `photo ${number + 1}`));
}

/** @param {string[]} titles @returns {string[]} with a number after those that occur several times */
function numbered(titles) {
  return titles.map((title, place) => {
    if (!title) return `panel ${place + 1}`;
    const before = titles.slice(0, place + 1).filter((one) => one === title).length;
    return titles.filter((one) => one === title).length > 1 ? `${title} (${before})` : title;
  });
}
