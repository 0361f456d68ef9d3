// @ts-check
// The capsule: all that is known of one photo and one model, as facts and tensors. It grows by answers of the host.

import { SettingsError } from "./errors.js";
import { readTensors } from "./safetensors.js";
import { queryIndices, resolveIndex } from "./tokens.js";

/** @typedef {import("./safetensors.js").Tensor} Tensor */
/** @typedef {import("./tokens.js").Query} Query */

/**
 * @typedef {Object} ModelFacts
 * @property {string} name
 * @property {string} description
 * @property {string[]} code             lines of Python that load the model
 * @property {[number, number]} grid     rows and columns of the patches of the last layer
 * @property {boolean} followed          whether attention can be followed from layer to layer
 * @property {boolean} divisible         whether its answer can be divided into contributions of tokens
 * @property {string[]} prefix           names of the tokens before the patches
 * @property {number} patch_size         in pixels of the view
 * @property {string} default_query
 * @property {string[]} read             queries that the classifier reads; empty without a classifier
 * @property {string[]} classes          names of all classes; empty without a classifier
 * @property {{name: string, cosine: number}[]} directions   targets beside the classes, whose numbers count on
 */

/**
 * @typedef {Object} PictureFacts
 * @property {string} name
 * @property {string | null} path
 * @property {[number, number]} size                           width and height of the photo itself
 * @property {[number, number]} photo_size                     of the tensor `photo`
 * @property {string} photo_type                               its MIME type
 * @property {[number, number, number, number]} crop_box       left, top, right, bottom of the view in `photo`
 * @property {[number, number]} view_size                      width and height of the view
 * @property {string} view_type                                MIME type of the tensor `view`
 */

/**
 * @typedef {Object} LayerFacts
 * @property {string} name
 * @property {string} words
 * @property {[number, number]} grid         rows and columns of the patches on which its maps lie
 * @property {[number, number]} query_grid   of the patches that are queries
 * @property {number} patch_size             side of a patch of `grid` in pixels of the view
 * @property {[number, number]} covered      height and width in pixels of what the patches cover, at least the view
 * @property {number} padding                number of keys that fill windows beyond the grid; they stand before the patches
 * @property {boolean} staged                whether its model has windows or stages
 * @property {string} windows                where its attention stays; empty if every query reaches every key
 * @property {number} heads
 * @property {string[]} key_prefix     names of its keys before the patches
 * @property {string[]} queries        names of its queries
 * @property {boolean} query_patches   whether each patch is a query too
 * @property {string} default_query
 * @property {boolean} operands        whether its queries and keys are enough to compute any row
 */

/**
 * @typedef {Object} AnswersFacts   See `viewer.answers.answer_parts`.
 * @property {string} unavailable   why there are none; empty if there are
 * @property {number} first         number of the first layer with an answer
 * @property {number[]} leaders     the most probable class after each layer; -1 before the first one
 * @property {number[]} classes     those whose tensors `answers/{class}` the capsule holds
 * @property {string} sentence
 * @property {string} no_direct     in a file: why it holds no direct parts of heads; else empty
 * @property {string} no_silenced   why heads are not silenced; empty if they are
 */

/**
 * @typedef {Object} SourceFacts   See `maps.sources.Source`.
 * @property {string} name
 * @property {string} title
 * @property {string} words
 * @property {string} reference
 * @property {string} sentence
 * @property {string[]} aggregations
 * @property {string} no_head
 * @property {string} no_class
 * @property {string} no_query
 * @property {string} no_aggregation
 * @property {boolean} norms
 * @property {boolean} signed          whether its values are contributions, for and against a class
 * @property {string} span
 * @property {boolean} plain
 * @property {boolean} fuses_heads
 * @property {string} unavailable   why it cannot be chosen; empty if it can
 */

/**
 * @typedef {Object} Facts
 * @property {number} format
 * @property {string} generator
 * @property {ModelFacts} model
 * @property {PictureFacts} picture
 * @property {LayerFacts[]} layers
 * @property {AnswersFacts} answers
 * @property {SourceFacts[]} sources
 * @property {{queries: Record<string, string>, formulas: Record<string, string>, titles: Record<string, string>,
 *   steps: Record<string, string>}} words
 * @property {{aggregations: string[], sinks: string[], scales: string[], cmaps: string[], grounds: string[],
 *   blends: string[], arrangements: string[]}} choices
 * @property {string} doubt   a sentence, where the model is not sure of its answer; else empty
 * @property {Record<string, any>} start
 * @property {{name: string, title: string, settings: Record<string, string>}[]} questions
 * @property {string[]} left_out   sentences: what this file does not hold
 * @property {Record<string, any>} [recipe]   in a file: what `make_recipe` writes, with the default settings
 */

/** The format that this viewer reads. */
const FORMAT = 1;

/** Everything that one forward pass says about one photo, as `AttentionCapture` is in Python. */
export class Capsule {
  /**
   * @param {ArrayBuffer} buffer a safetensors file with facts
   * @throws {Error} not a capsule, or one of another format
   */
  constructor(buffer) {
    const { tensors, metadata } = readTensors(buffer);
    /** @type {Facts | null} */
    const facts = JSON.parse(metadata.vitattn ?? "null");
    if (!facts) throw new Error("this safetensors file is no capsule: it holds no facts of a photo");
    if (facts.format !== FORMAT) {
      throw new Error(`this capsule has format ${facts.format}, and this viewer reads format ${FORMAT}; make it again`);
    }
    /** @type {Facts} */
    this.facts = facts;
    /** @type {Map<string, Tensor>} */
    this.tensors = tensors;
    /** @type {Map<string, Map<string, any>>} */
    this.answers = new Map();
  }

  /**
   * Add the tensors of an answer of the host.
   *
   * @param {ArrayBuffer} buffer a safetensors file
   */
  add(buffer) {
    for (const [name, tensor] of readTensors(buffer).tensors) this.tensors.set(name, tensor);
  }

  /** @param {string} name @returns {boolean} */
  has(name) {
    return this.tensors.has(name);
  }

  /**
   * @param {string} name
   * @returns {Tensor}
   * @throws {SettingsError} this capsule does not hold it (see `missing`)
   */
  tensor(name) {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new SettingsError(`this capsule does not hold ${name}; ask for it first`);
    return tensor;
  }

  /**
   * A tensor's float32 numbers.
   *
   * @param {string} name
   * @returns {Float32Array}
   */
  floats(name) {
    const { data } = this.tensor(name);
    return data instanceof Float32Array ? data : Float32Array.from(data);
  }

  /**
   * The answer to a question about this capsule, computed unless it is among the last ones on its topic.
   *
   * @template T
   * @param {string} topic
   * @param {string} question
   * @param {number} most number of answers to keep on this topic; the least recently used are dropped
   * @param {() => T} compute must depend on capsule, topic and question alone; nobody may change the answer
   * @returns {T}
   */
  remembered(topic, question, most, compute) {
    let known = this.answers.get(topic);
    if (!known) {
      known = new Map();
      this.answers.set(topic, known);
    }
    const answer = known.has(question) ? known.get(question) : compute();
    known.delete(question); // a map keeps the order of entry: the last one is the newest
    known.set(question, answer);
    if (known.size > most) known.delete(known.keys().next().value ?? "");
    return answer;
  }

  /** @returns {number} */
  get numLayers() {
    return this.facts.layers.length;
  }

  /** @param {number} layer @returns {number} rows times columns of the grid of a layer's maps */
  numPatches(layer) {
    const [rows, cols] = this.layer(layer).grid;
    return rows * cols;
  }

  /**
   * A layer's number, from 0 on; negative numbers count from the end.
   *
   * @param {number} layer
   * @throws {SettingsError} no such layer
   */
  layerIndex(layer) {
    return resolveIndex(layer, this.numLayers, "layer", this.facts.model.name);
  }

  /** @param {number} layer @returns {LayerFacts} @throws {SettingsError} no such layer */
  layer(layer) {
    return this.facts.layers[this.layerIndex(layer)];
  }

  /** @param {string} name @returns {SourceFacts} @throws {SettingsError} no such source */
  source(name) {
    const source = this.facts.sources.find((one) => one.name === name);
    if (source) return source;
    const possible = this.facts.sources.map((one) => one.name).join(", ");
    throw new SettingsError(`source '${name}' does not exist; possible: ${possible}`);
  }

  /**
   * The rows of a layer's attention matrix whose mean is the attention of a query.
   *
   * @param {number} layer
   * @param {Query} query
   * @throws {SettingsError} no such layer or query
   */
  queryIndices(layer, query) {
    const index = this.layerIndex(layer);
    const facts = this.facts.layers[index];
    const where = `layer ${index} (${facts.name}) of ${this.facts.model.name}`;
    return queryIndices(query, facts, facts.query_grid, where);
  }

  /** @param {number} layer @param {Query | null} query @returns {Query} */
  queryOrDefault(layer, query) {
    return query ?? this.layer(layer).default_query;
  }

  /**
   * The number of the class: `target`, or the most probable class for null.
   *
   * @param {number | null} target
   * @returns {number}
   * @throws {SettingsError} no such class, or a model without a classifier
   */
  classOrPredicted(target = null) {
    const { classes, name } = this.facts.model;
    if (!classes.length) {
      throw new SettingsError(`${name} has no classifier, so it gives no answer to follow`);
    }
    if (target !== null) return resolveIndex(target, classes.length, "class", name);
    const probabilities = this.floats("probabilities");
    return probabilities.indexOf(probabilities.reduce((most, one) => Math.max(most, one), -1));
  }

  /** The names of the targets, by number: the classes, then the directions. */
  get targetNames() {
    const { classes, directions } = this.facts.model;
    return directions.length ? [...classes, ...directions.map(({ name }) => name)] : classes;
  }

  /**
   * The number of a target: `target`, a class or a direction, or the most probable class for null.
   *
   * @param {number | null} target
   * @returns {number | null} null for the model's own feature vector: what null means where there is no classifier
   * @throws {SettingsError} no such class or direction
   */
  resolveTarget(target = null) {
    const { classes, name } = this.facts.model;
    if (target === null) return classes.length ? this.classOrPredicted() : null;
    const count = this.targetNames.length;
    if (!count) {
      throw new SettingsError(
        `${name} has no classifier, so there is no class ${target}; maps are of its feature vector, or of a ` +
          "direction: see add_direction",
      );
    }
    return resolveIndex(target, count, "class", name);
  }

  /** @param {number | null} target @returns {boolean} whether it is a direction, not a class */
  isDirection(target) {
    return target !== null && target >= this.facts.model.classes.length;
  }

  /** @param {number | null} target @returns {string} what maps of a target explain, in words */
  answerWords(target) {
    if (target === null) return "its feature vector";
    return `${this.isDirection(target) ? "likeness to " : ""}${this.targetNames[target]}`;
  }

  /** @param {number} layer @returns {Uint8Array} which patches are sinks, 0 or 1, row first */
  sinks(layer) {
    return /** @type {Uint8Array} */ (this.tensor(`layer${this.layerIndex(layer)}.sinks`).data);
  }
}
