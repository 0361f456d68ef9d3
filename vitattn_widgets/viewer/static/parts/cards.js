// @ts-check
// The panels of a comparison as cards: each shows its map, leads there, and can be moved and removed.

import { button, element, icon, setText } from "./dom.js";

/**
 * @typedef {Object} CardFace   What a card shows.
 * @property {string} title
 * @property {string} words     the sentence of its map; why there is none, if it failed
 * @property {number} ratio     width of its picture by the height
 * @property {"ready" | "waiting" | "failed"} status
 */

/**
 * @param {{show: (place: number) => void, move: (from: number, to: number) => void, remove: (place: number) => void}} acts
 */
export function cardsOf({ show, move, remove }) {
  const list = element("ol", { class: "va-cards" });
  /** @type {number | null} */
  let dragged = null;

  /** @param {number} place */
  const focusOn = (place) => {
    const card = list.children[Math.min(place, list.children.length - 1)];
    /** @type {HTMLElement | null | undefined} */ (card?.querySelector(".va-card-show"))?.focus();
  };

  /**
   * @param {number} from
   * @param {number} to
   */
  const moveTo = (from, to) => {
    if (to < 0 || to >= list.children.length || to === from) return;
    move(from, to);
    focusOn(to);
  };

  /** @param {number} place */
  const removeAt = (place) => {
    remove(place);
    focusOn(place);
  };

  /**
   * @param {KeyboardEvent} event
   * @param {number} place
   */
  const pressed = (event, place) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && event.shiftKey) moveTo(place, place + step);
    else if (step) focusOn(Math.max(0, place + step));
    else if (event.key === "Delete" || event.key === "Backspace") removeAt(place);
    else return;
    event.preventDefault();
  };

  /** @param {number} place */
  const cardOf = (place) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    const number = element("b", {});
    const title = element("span", {});
    const state = element("span", { class: "va-card-state", "aria-hidden": "true" });
    const open = element(
      "button",
      {
        type: "button",
        class: "va-card-show",
        onclick: () => show(place),
        onkeydown: (event) => pressed(event, place),
      },
      element("span", { class: "va-card-picture" }, canvas, state),
      element("span", { class: "va-card-title" }, number, title),
    );
    /**
     * @param {string} symbol
     * @param {string} name
     * @param {() => void} act
     */
    const tool = (symbol, name, act) =>
      button({
        icon: symbol,
        label: name,
        class: `va-card-tool va-card-${name.split(" ")[1] ?? "remove"}`,
        onclick: act,
      });
    const tools = [
      tool("chevron", "Move left", () => moveTo(place, place - 1)),
      tool("chevron", "Move right", () => moveTo(place, place + 1)),
      tool("close", "Remove", () => removeAt(place)),
    ];
    const node = element(
      "li",
      {
        class: "va-card",
        draggable: "true",
        ondragstart: (event) => {
          dragged = place;
          event.dataTransfer.effectAllowed = "move";
        },
        ondragend: () => {
          dragged = null;
        },
        ondragover: (event) => dragged !== null && event.preventDefault(),
        ondrop: (event) => {
          if (dragged === null) return;
          event.preventDefault();
          moveTo(dragged, place);
        },
      },
      open,
      element("div", { class: "va-card-tools" }, ...tools),
    );
    return { node, canvas, number, title, state, open, tools };
  };

  /** @type {ReturnType<typeof cardOf>[]} */
  const cards = [];

  return {
    element: list,
    /** @param {number} current   the card that the viewer shows; -1 for none */
    mark(current) {
      for (const [place, { open }] of cards.entries()) open.setAttribute("aria-current", String(place === current));
    },
    /**
     * @param {CardFace[]} faces
     * @returns {HTMLCanvasElement[]} one per card, of the size at which it is shown
     */
    update(faces) {
      while (cards.length > faces.length) cards.pop()?.node.remove();
      while (cards.length < faces.length) {
        const card = cardOf(cards.length);
        cards.push(card);
        list.append(card.node);
      }
      const scale = window.devicePixelRatio || 1;
      return faces.map(({ title, words, ratio, status }, place) => {
        const { node, canvas, number, title: line, state, open, tools } = cards[place];
        const several = faces.length > 1;
        setText(number, several ? `${place + 1} ` : "");
        setText(line, title || "this view");
        open.title = `${words}\nClick: show it above. Drag, or Shift and an arrow key: move it. Delete: remove it.`;
        open.setAttribute(
          "aria-label",
          `Panel ${place + 1} of ${faces.length}: ${title || "this view"}. Show it above`,
        );
        node.dataset.status = status;
        const failed = [icon("warn"), element("span", {}, words)];
        state.replaceChildren(...(status === "failed" ? failed : status === "waiting" ? [element("i")] : []));
        tools[0].disabled = place === 0;
        tools[1].disabled = place === faces.length - 1;
        for (const tool of tools.slice(0, 2)) tool.hidden = !several;
        canvas.style.aspectRatio = String(ratio);
        const width = Math.round(canvas.clientWidth * scale);
        const height = Math.round(width / ratio);
        if (width && (canvas.width !== width || canvas.height !== height))
          [canvas.width, canvas.height] = [width, height];
        return canvas;
      });
    },
  };
}
