// @ts-check
// The search among all classes: a field with a list below it, by keyboard as much as by hand.

import { likelyClasses, searchClasses } from "../engine/classes.js";
import { element, setText, uniqueId } from "./dom.js";

const LISTED = 50; // most classes in the list

/**
 * A probability, as short as it can be read. Only what rounds to it is called certain.
 * @param {number} probability   0..1
 */
export function percentWords(probability) {
  const percent = 100 * probability;
  if (percent < 0.05) return "<0.1%";
  const tenths = percent.toFixed(1);
  return (percent >= 9.95 && percent < 99.5) || tenths === "100.0" ? `${Math.round(percent)}%` : `${tenths}%`;
}

/** @param {(target: number, second: boolean) => void} choose   `second`: with Shift, the other class of a difference */
export function searchOf(choose) {
  const list = element("ul", {
    class: "va-options",
    role: "listbox",
    id: uniqueId("classes"),
    "aria-label": "Classes",
    hidden: true,
  });
  const label = element("label", { class: "va-hidden", for: uniqueId("search") }, "Search a class");
  const input = element("input", {
    type: "text",
    id: label.htmlFor,
    class: "va-search",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    "aria-expanded": "false",
    "aria-autocomplete": "list",
    "aria-controls": list.id,
  });
  const found = element("span", { class: "va-hidden", role: "status" });
  const node = element("div", { class: "va-combobox" }, label, input, list, found);
  /** @type {string[]} */
  let names = [];
  /** @type {Float32Array} */
  let probabilities = new Float32Array();
  /** @type {number[]} */
  let listed = [];
  let active = -1;

  const close = () => {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };

  /** @param {number} index */
  const activate = (index) => {
    active = index;
    for (const [place, one] of [...list.children].entries())
      one.setAttribute("aria-selected", String(place === active));
    const option = /** @type {HTMLElement | undefined} */ (list.children[active]);
    if (!option) return;
    input.setAttribute("aria-activedescendant", option.id);
    // within the list alone: `scrollIntoView` would move the page too
    const [top, bottom] = [option.offsetTop, option.offsetTop + option.offsetHeight];
    if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  };

  /**
   * @param {number} target
   * @param {boolean} second
   */
  const take = (target, second) => {
    input.value = "";
    close();
    choose(target, second);
  };

  const open = () => {
    if (input.disabled) return;
    const text = input.value.trim();
    const matching = text ? searchClasses(names, text, names.length, probabilities) : likelyClasses(probabilities);
    listed = matching.slice(0, LISTED);
    const options = listed.map((target, place) =>
      element(
        "li",
        {
          role: "option",
          id: `${list.id}-${place}`,
          "aria-selected": "false",
          onclick: (event) => take(target, event.shiftKey),
        },
        element("span", {}, names[target]),
        element("span", { class: "va-percent" }, percentWords(probabilities[target])),
      ),
    );
    list.replaceChildren(...options);
    if (!listed.length)
      list.append(
        element("li", { role: "option", "aria-disabled": "true", "aria-selected": "false" }, `No class with “${text}”`),
      );
    const count = matching.length > LISTED ? `${LISTED} of ${matching.length}` : String(matching.length);
    setText(found, text ? `${count} classes found` : "");
    list.hidden = false;
    list.scrollTop = 0;
    input.setAttribute("aria-expanded", "true");
    const space = window.innerHeight - input.getBoundingClientRect().bottom;
    list.classList.toggle(
      "va-above",
      space < list.offsetHeight + 8 && input.getBoundingClientRect().top > list.offsetHeight + 8,
    );
    activate(text && listed.length ? 0 : -1);
  };

  input.addEventListener("input", open);
  input.addEventListener("click", () => list.hidden && open());
  input.addEventListener("blur", close);
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // the field keeps the focus
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
    if (step) {
      if (list.hidden) open();
      const last = listed.length - 1;
      const around =
        Math.abs(step) === 1
          ? (active + step + listed.length + (active < 0 && step < 0 ? 1 : 0)) % listed.length
          : active + step;
      if (listed.length) activate(Math.min(Math.max(around, 0), last));
    } else if (event.key === "Enter" && !list.hidden && listed[active] !== undefined)
      take(listed[active], event.shiftKey);
    else if (event.key === "Escape" && (!list.hidden || input.value)) {
      if (list.hidden) input.value = "";
      close();
      event.stopPropagation();
    } else return;
    event.preventDefault();
  });

  return {
    element: node,
    focus: () => input.focus(),
    /**
     * @param {string[]} classNames
     * @param {Float32Array} classProbabilities
     */
    know(classNames, classProbabilities) {
      names = classNames;
      probabilities = classProbabilities;
      input.disabled = !names.length;
      input.placeholder = `Search ${names.length} classes`;
      close();
    },
  };
}
