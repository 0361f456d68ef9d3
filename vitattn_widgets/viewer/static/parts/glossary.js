// @ts-check
// What the terms mean: two sentences and a small drawing each.

/**
 * @typedef {Object} Term
 * @property {string} title
 * @property {string} words      two sentences
 * @property {string[]} [grid]   drawing: cells from 0 (cold) to 9 (hot), a blank is no cell
 * @property {string} [lines]    drawing: a path on 60 x 40
 * @property {string} [dashes]   drawing: a dashed path
 */

const FADED = ["011210", "013531", "012421", "000110"];

/** @type {Record<string, Term>} */
export const TERMS = {
  attention: {
    title: "Attention",
    words:
      "In each layer every token looks at all others and takes over a part of what they hold. How much it takes from each is its attention; the shares add up to 100%.",
    grid: FADED,
    lines: "M5 35 25 15M5 35 35 15M5 35 35 25",
  },
  layer: {
    title: "Layer",
    words:
      "The model passes the picture through its layers one after the other. Early ones see colours and edges, late ones whole objects.",
    lines: "M10 34h30l10-8h-30zM10 25h30l10-8h-30zM10 16h30l10-8h-30z",
  },
  head: {
    title: "Head",
    words:
      "A layer looks several times at once, and each of these looks is a head with a map of its own. Heads often specialise: one follows edges, another the object.",
    grid: ["           ", "900 090 013", "310 191 039", "100 090 013"],
  },
  query: {
    title: "Query",
    words:
      "The query is the token that looks; the map shows where. By default it is what the classifier reads; click a patch to let that patch look.",
    grid: FADED,
    lines: "M1 31h8v8H1zM9 31 28 16",
  },
  patch: {
    title: "Patch",
    words:
      "The model cuts the picture into squares, the patches, and knows nothing smaller. A map has one value for each of them.",
    lines: "M0 .5h60M0 10h60M0 20h60M0 30h60M0 39.5h60M.5 0v40M10 0v40M20 0v40M30 0v40M40 0v40M50 0v40M59.5 0v40",
  },
  token: {
    title: "Class token",
    words:
      "A token that belongs to no patch: it gathers from all of them what the picture shows. The classifier usually reads its answer from it alone.",
    grid: ["  0120", "  1431", "  0210", "  0000"],
    lines: "M9 20a4 4 0 1 1-8 0 4 4 0 0 1 8 0zM9 18 33 12M9 20 43 15M9 22 33 25",
  },
  prefix: {
    title: "Prefix tokens",
    words:
      "Tokens before the patches: the class token, sometimes registers. What they get is no place in the picture, so the map leaves it out and says how much it was.",
    grid: ["        ", " 1 12321", "        "],
    dashes: "M7 12h8v16H7z",
  },
  window: {
    title: "Window",
    words:
      "In this layer a patch does not look at the whole picture, only at the patches of its own window. Choose a patch as the query, and its window is outlined; other layers cut the picture elsewhere, so that what was found spreads.",
    grid: ["000000", "003600", "001900", "000000"],
    dashes: "M20 10h20v20H20z",
  },
  sink: {
    title: "Sink",
    words:
      "A patch, often in a corner, that draws attention whatever the picture shows; the model parks there what it does not need. It says nothing about the object, so it is marked, and kept out of the scale unless it is part of the answer.",
    grid: ["900000", "001210", "002420", "000109"],
    dashes: "M1 1h8v8H1zM51 31h8v8h-8z",
  },
  rollout: {
    title: "Rollout",
    words:
      "Attention followed through all layers, from the patches up to this one. It tells what reached a token along the way, not only in the last step.",
    lines: "M6 35 22 22 38 15 54 6M6 20 22 22M6 6 22 9 38 15M22 35 38 28 54 6",
  },
  relevance: {
    title: "Relevance",
    words:
      "Attention through all layers, each weighted by how much it raised the score of the class. It therefore answers for one class.",
    grid: ["001100", "014820", "013610", "000000"],
    lines: "M54 6 38 14M54 6 44 24",
  },
  gradient: {
    title: "Gradient x attention",
    words:
      "How much the score of the class would fall, to a first approximation, without each bit of attention. Only what raised the score is shown.",
    grid: ["000000", "003710", "002510", "000000"],
    lines: "M48 36V14m-5 6 5-6 5 6",
  },
  gradient_late: {
    title: "Gradient x attention of the late layers",
    words:
      "How much the score of the class would fall, to a first approximation, without each bit of attention. Summed over this layer and the ones just before it, a third of all; the last third makes most of the answer.",
    grid: ["000000", "003710", "002510", "000000"],
    lines: "M42 36V14m-5 6 5-6 5 6M52 36V14m-5 6 5-6 5 6",
  },
  contribution: {
    title: "Contribution",
    words:
      "What each patch adds to the score of the class, as its token enters this layer: red for the class, blue against it. With the other tokens and the biases they add up to the score exactly.",
    grid: ["000000", "003710", "002510", "000000"],
    lines: "M12 8v10m-5-5h10M46 30h10",
  },
  contribution_heads: {
    title: "Contribution through the layer's attention",
    words:
      "The part of the score that patches bring through the attention of this layer: red for the class, blue against it. Each head has its own; what passes the layer by is not in it.",
    grid: ["000000", "003710", "002510", "000000"],
    lines: "M12 8v10m-5-5h10M46 30h10",
  },
  contribution_sum: {
    title: "Contributions, summed",
    words:
      "What each patch added to the score of the class (red) or took from it (blue), seen in three ways of equal weight: as its token enters this layer, through the last layers' attention, and through all attention.",
    grid: ["000000", "003710", "002510", "000000"],
    lines: "M12 8v10m-5-5h10M46 30h10",
  },
  norm: {
    title: "Value norm",
    words:
      "Attention to a patch moves nothing if that patch has little to give. So each share is multiplied by the length of what is taken over.",
    lines: "M8 34V8m-4 5 4-5 4 5M24 34V26m-4 4 4-5 4 5M40 34V16m-4 5 4-5 4 5M54 34v-4",
  },
  aggregation: {
    title: "Aggregation",
    words:
      "How the maps of all heads become one. The average shows what they share, the maximum what any one sees, mean / std where they agree.",
    grid: ["           ", "90 09 0 55 ", "00 00 0 04 ", "           "],
  },
  scale: {
    title: "Scale",
    words: "Which values become the darkest and the brightest colour. The colour bar below the picture says them.",
    grid: ["          ", "0123456789", "0123456789", "          "],
    lines: "M1 34v4M59 34v4",
  },
  robust: {
    title: "Robust scale",
    words:
      "The lowest and the highest 5% of the pixels share the end colours. A few extreme patches then cannot darken all the others.",
    lines: "M4 34V30M12 34V20M20 34V10M28 34V14M36 34V22M44 34V29M56 34V4",
    dashes: "M8 2v36M50 2v36",
  },
  shared: {
    title: "Shared scale",
    words: "One range of values for several maps, so that their colours can be compared. A weak map then looks weak.",
    grid: ["          ", "0123456789", "          ", "01234     "],
  },
  glow: {
    title: "Glow",
    words:
      "Colour appears only where the map is high, so the photo keeps its own colours elsewhere. Even lays the same veil over every pixel, as in the paper.",
    grid: ["      ", " 1331 ", " 2662 ", " 1331 "],
  },
  smoothing: {
    title: "Smoothing",
    words:
      "Between the patches values are interpolated, then smoothed by a median and a Gaussian, as in the paper. Without it each patch is a plain square.",
    lines: "M2 36C16 36 16 10 30 10S44 28 58 28",
    dashes: "M2 36h12V10h16v0h16V28h12",
  },
  average: {
    title: "Times the average patch",
    words:
      "1 is the average size of a patch’s value in this map, 4 means four times that. Below 0, a patch speaks against the answer.",
    lines: "M8 36V28M18 36V30M28 36V8M38 36V24M48 36V31",
    dashes: "M2 25h56",
  },
  register: {
    title: "Register",
    words:
      "A token that was added in training so that the model need not use patches as scratch paper. Models with registers have few sinks.",
    grid: ["        ", " 8 12321", "        "],
    dashes: "M7 12h8v16H7z",
  },
  class: {
    title: "Class",
    words:
      "One of the answers that the classifier can give. Maps of gradients and relevance are computed for one of them; the others do not depend on it.",
    lines: "M4 8h46M4 20h26M4 32h12",
  },
  deletion: {
    title: "Deletion",
    words:
      "The brightest patches are removed first, and the score of the class is watched. The faster it falls, the more the map had found.",
    lines: "M4 6C14 8 16 30 56 34",
    dashes: "M4 6C24 14 40 26 56 34",
  },
  insertion: {
    title: "Insertion",
    words:
      "The brightest patches are put into an empty picture first, and the score of the class is watched. The faster it rises, the more the map had found.",
    lines: "M4 34C14 32 16 10 56 6",
    dashes: "M4 34C24 26 40 14 56 6",
  },
  lens: {
    title: "Answer, layer by layer",
    words:
      "What the classifier would say if the model ended after this layer. Early tokens are not made for it, so it guesses at first; where a curve rises, the answer comes about.",
    lines: "M4 36H24L34 30 42 8 56 5",
    dashes: "M4 35 18 30 30 26 40 33 56 35",
  },
  logit: {
    title: "Logit",
    words:
      "The score of a class before scores become percentages. It is a plain sum, so it can be divided among the parts of the model.",
    lines: "M6 36V22h8v14M18 36V28h8v8M30 36V6h8v30M42 36V31h8v5",
  },
  direct: {
    title: "Direct contribution",
    words:
      "What a head adds to the tokens that the classifier reads is one term of the logit. What later layers make of it counts as theirs.",
    grid: ["      ", "007000", "000090", "020000"],
    lines: "M2 5h56m-6-4 6 4-6 4",
  },
  silenced: {
    title: "Silencing a head",
    words:
      "The model answers again with what this head found set to zero. How far the logit falls counts all that later layers would have made of it, and what they find without it.",
    grid: ["      ", "008000", "020030", "000000"],
    dashes: "M20 10h10v10H20zM20 10l10 10M30 10 20 20",
  },
  mlp: {
    title: "MLP",
    words:
      "After its attention, each layer works on every token by itself, with two small matrices. It adds its result to the token, as the heads do.",
    lines: "M10 8v24M10 8 30 4M10 8 30 20M10 32 30 20M10 32 30 36M30 4 50 20M30 20h20M30 36 50 20",
  },
};
