// @ts-check
// Which panels a comparison keeps: a view as a panel, and the rows that one click fills.

import { likelyClasses } from "../engine/classes.js";
import { roundEven } from "../engine/numbers.js";
import { PRESETS } from "../engine/presets.js";
import { fitSettings } from "../engine/resolve.js";
import { MAP_FIELDS, VIEW_FIELDS } from "../engine/settings.js";
import { classSource } from "./answer.js";

/** @typedef {import("./types.js").Viewer} Viewer */
/** @typedef {import("./types.js").Now} Now */
/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Settings} Settings */
/** @typedef {import("./types.js").PanelChoice} PanelChoice */
/** @typedef {import("./difference.js").ShownPanel} ShownPanel */
/**
 * @typedef {Object} PresetRow   Panels that one click keeps.
 * @property {string} name
 * @property {string} title
 * @property {string} words
 * @property {(now: Now) => string} reason   why there is nothing to compare; "" if there is
 * @property {(now: Now) => PanelChoice[] | Promise<PanelChoice[]>} panels
 */

const MAX_PANELS = 12; // photos that one click keeps
const CLASSES = 4;

/**
 * The panel of a view.
 * @param {string} model
 * @param {string} picture
 * @param {import("../engine/settings.js").MapSettings} settings
 * @returns {PanelChoice}
 */
export function panelChoice(model, picture, settings) {
  const map = Object.fromEntries(MAP_FIELDS.map((name) => [name, settings[name]]));
  return /** @type {PanelChoice} */ ({ model, picture, ...map });
}

/**
 * The settings of a panel: its own map in the look of the viewer.
 * @param {State} state
 * @param {PanelChoice} choice
 * @returns {Settings}
 */
export function panelSettings(state, choice) {
  const look = Object.fromEntries(VIEW_FIELDS.map((name) => [name, state[name]]));
  const map = Object.fromEntries(MAP_FIELDS.map((name) => [name, choice[name]]));
  const alone = state.arrangement === "map" ? { opacity: 1, blend: "even" } : {};
  return /** @type {Settings} */ ({ ...look, ...map, ...alone });
}

/**
 * What panels of models with different numbers of layers are compared by; "" if there are none.
 * @param {ShownPanel[]} panels
 */
export function depthWords(panels) {
  const counts = [...new Set(panels.map(({ capsule }) => capsule.numLayers))];
  if (counts.length < 2) return "";
  const models = `The models have ${counts.join(" and ")} layers`;
  const depths = panels.map(({ capsule, settings }) => settings.layer / Math.max(1, capsule.numLayers - 1));
  const same = Math.max(...depths) - Math.min(...depths) <= 1 / Math.max(1, Math.min(...counts) - 1);
  return same
    ? `${models} and are compared at the same relative depth.`
    : `${models}, and these layers are not at the same relative depth.`;
}

/**
 * @param {Viewer} viewer
 * @param {(words: string) => void} tell   what is going on; "" for nothing
 * @returns {PresetRow[]}
 */
export function presetRows(viewer, tell) {
  const { host } = viewer;
  /**
   * @param {Now} now
   * @param {Settings[]} views   of the photo and model on the screen
   */
  const ofThis = ({ state }, views) => views.map((settings) => panelChoice(state.model, state.picture, settings));

  /** @param {Now} now */
  const classPanels = (now) => {
    const { capsule, settings } = now;
    const likely = likelyClasses(capsule.floats("probabilities"), CLASSES);
    const targets = settings.target === null ? likely : [...new Set([settings.target, ...likely])].slice(0, CLASSES);
    const changes = classSource(now);
    return ofThis(
      now,
      targets.map((target) => ({ ...settings, ...changes, target })),
    );
  };

  /** @param {Now} now */
  const photoPanels = ({ state, settings }) => {
    const readable = host
      .library()
      .pictures.filter(({ reason }) => !reason)
      .map(({ name }) => name);
    const query = Array.isArray(settings.query) ? null : settings.query; // a patch means nothing in another photo
    const names = [state.picture, ...readable.filter((name) => name !== state.picture)].slice(0, MAX_PANELS);
    if (readable.length > MAX_PANELS) tell(`${MAX_PANELS} of ${readable.length} photos.`);
    return names.map((picture) => panelChoice(state.model, picture, { ...settings, target: null, query }));
  };

  /** @param {Now} now */
  const modelPanels = async ({ state, settings, capsule: here }) => {
    /** @type {PanelChoice[]} */
    const panels = [];
    for (const model of host.library().models) {
      tell(`Looking with ${model} ...`);
      try {
        const capsule = await viewer.capsuleOf(model, state.picture);
        // the same relative depth, as models differ in their number of layers
        const layer = roundEven((settings.layer * (capsule.numLayers - 1)) / Math.max(1, here.numLayers - 1));
        const { query_grid: grid } = here.facts.layers[settings.layer];
        const classes = here.targetNames;
        panels.push(panelChoice(model, state.picture, fitSettings({ ...settings, layer }, capsule, { grid, classes })));
      } catch (error) {
        viewer.say({
          kind: "error",
          text: `${model}: ${error instanceof Error ? error.message : error}`,
          lasts: 10000,
        });
      }
    }
    tell("");
    return panels;
  };

  return [
    ...Object.entries(PRESETS).map(([name, { title, words, panels }]) => ({
      name,
      title,
      words,
      reason: (/** @type {Now} */ { capsule, settings }) => {
        try {
          panels(capsule, settings);
          return "";
        } catch (error) {
          return error instanceof Error ? error.message.replace("there is nothing to compare here: ", "") : "";
        }
      },
      panels: (/** @type {Now} */ now) => ofThis(now, panels(now.capsule, now.settings)),
    })),
    {
      name: "classes",
      title: "classes",
      words: `the maps of the ${CLASSES} most probable classes`,
      reason: ({ capsule }) => (capsule.facts.model.classes.length > 1 ? "" : "this model has no classifier"),
      panels: classPanels,
    },
    {
      name: "photos",
      title: "photos",
      words: "the same view of all photos",
      reason: () => (host.library().pictures.filter(({ reason }) => !reason).length > 1 ? "" : "there is one photo"),
      panels: photoPanels,
    },
    {
      name: "models",
      title: "models",
      words: "the same view of all models",
      reason: () => (host.library().models.length > 1 ? "" : "there is one model"),
      panels: modelPanels,
    },
  ];
}
