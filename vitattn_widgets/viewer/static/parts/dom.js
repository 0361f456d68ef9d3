// @ts-check
// Page elements and native controls. Text from outside is always a child or an attribute, never markup.

/** @typedef {Record<string, string | number | boolean | null | undefined | ((event: any) => void)>} Attributes */
/** @typedef {{value: string, label: string, reason?: string, title?: string}} Option   `reason`: why it rests, "" if it does not */

let newestId = 0;

/**
 * A new HTML element. Attributes named `on...` are listeners; true sets an empty attribute; false, null and undefined none.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/**
 * A new SVG element, with the same attributes as `element`.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Attributes} [attributes]
 * @param {...(Node | string)} children
 * @returns {SVGElementTagNameMap[Tag]}
 */
export function shape(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/**
 * @template {Element} Made
 * @param {Made} made
 * @param {Attributes} attributes
 * @param {(Node | string)[]} children
 * @returns {Made}
 */
function furnish(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/**
 * An id that no other element of the page has.
 * @param {string} word
 */
export function uniqueId(word) {
  newestId += 1;
  return `va-${word}-${newestId}`;
}

/**
 * Set a text only where it changed, so that a live region does not repeat itself.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @type {Record<string, string>} paths on a square of 16, drawn as lines */
const ICONS = {
  undo: "M6 3 3 6l3 3M3 6h6a4 4 0 0 1 0 8H6",
  redo: "m10 3 3 3-3 3m3-3H7a4 4 0 0 0 0 8h3",
  reset: "M3 8a5 5 0 1 0 1.6-3.7M3 2.5V5h2.6",
  close: "m4 4 8 8M12 4l-8 8",
  play: "M5 3v10l8-5z",
  pause: "M5.5 3v10M10.5 3v10",
  eye: "M1.5 8S4 3.5 8 3.5 14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8zM8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  chevron: "m6 4 4 4-4 4",
  plus: "M8 3v10M3 8h10",
  check: "m3 8.5 3.5 3.5L13 4.5",
  save: "M8 2.5v7.5m-3-3 3 3 3-3M3 13.5h10",
  compare: "M2.5 3.5h4.5v9H2.5zM9 3.5h4.5v9H9z",
  cells: "M2.5 3h4v4h-4zM9.5 3h4v4h-4zM2.5 9.500h4v4h-4zM9.5 9.500h4v4h-4z",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  link: "M6.5 9.5l3-3M7 4.5l1-1a3 3 0 0 1 4.5 4.5l-1 1M9 11.5l-1 1A3 3 0 0 1 3.5 8l1-1",
  warn: "M8 2.5 14.5 13.5H1.500zM8 6.5v3M8 11.500v.1",
  upload: "M8 10V2.5m-3 3 3-3 3 3M3 13.5h10",
};

/**
 * A small line drawing that takes the colour of the text; the button beside it carries the name.
 * @param {string} name   a key of ICONS
 */
export function icon(name) {
  return shape(
    "svg",
    { class: "va-icon", viewBox: "0 0 16 16", "aria-hidden": "true" },
    shape("path", { d: ICONS[name] }),
  );
}

/**
 * A button; `icon` or text or both. A button without text needs a `label`.
 * @param {{text?: string, icon?: string, label?: string, title?: string, class?: string, onclick: (event: MouseEvent) => void}} parts
 */
export function button(parts) {
  return element(
    "button",
    {
      type: "button",
      class: `va-button ${parts.class ?? ""}`.trim(),
      "aria-label": parts.label,
      title: parts.title ?? (parts.text ? undefined : parts.label),
      onclick: parts.onclick,
    },
    ...(parts.icon ? [icon(parts.icon)] : []),
    ...(parts.text ? [element("span", {}, parts.text)] : []),
  );
}

/**
 * A label above a control, and the reason why it rests.
 * @param {string | Node} label
 * @param {HTMLElement} control
 * @param {{group?: boolean}} [options]   `group`: the control is a set of controls
 */
export function field(label, control, options = {}) {
  const id = uniqueId("label");
  const reason = element("span", { class: "va-reason", id: `${id}-reason` });
  const words = element("span", { class: "va-label", id }, label);
  const node = element("div", { class: "va-field" }, element("div", { class: "va-labels" }, words, reason), control);
  if (options.group) control.setAttribute("role", "group");
  control.setAttribute("aria-labelledby", id);
  return {
    element: node,
    /** @param {string} why   "" if the control works */
    rest(why) {
      setText(reason, why);
      node.classList.toggle("va-rests", Boolean(why));
      for (const one of [control, ...control.querySelectorAll("*")]) {
        if ("disabled" in one && !one.hasAttribute("data-own-rest")) one.disabled = Boolean(why);
      }
      if (why) control.setAttribute("aria-describedby", `${id}-reason`);
      else control.removeAttribute("aria-describedby");
    },
  };
}

/**
 * Radio buttons in one row. An option with a `reason` rests and says why.
 * @param {string | Node} label
 * @param {(value: string) => void} onchange
 */
export function segments(label, onchange) {
  const name = uniqueId("choice");
  const row = element("div", { class: "va-segments" });
  const frame = field(label, row, { group: true });
  row.setAttribute("role", "radiogroup");
  let filled = "";
  return {
    element: frame.element,
    rest: frame.rest,
    /** @param {Option[]} options */
    fill(options) {
      const next = JSON.stringify(options);
      if (next === filled) return;
      filled = next;
      row.replaceChildren(
        ...options.map(({ value, label: words, reason = "", title }) =>
          element(
            "label",
            { title: reason || title },
            element("input", {
              type: "radio",
              name,
              value,
              disabled: Boolean(reason),
              "data-own-rest": Boolean(reason),
              onchange: () => onchange(value),
            }),
            element("span", {}, words, ...(reason ? [element("span", { class: "va-hidden" }, ` (${reason})`)] : [])),
          ),
        ),
      );
    },
    /** @param {string} value */
    choose(value) {
      for (const input of row.querySelectorAll("input")) input.checked = input.value === value;
    },
  };
}

/**
 * A menu.
 * @param {string | Node} label
 * @param {(value: string) => void} onchange
 */
export function menu(label, onchange) {
  const select = element("select", { class: "va-select", onchange: () => onchange(select.value) });
  const frame = field(label, select);
  let filled = "";
  return {
    element: frame.element,
    select,
    rest: frame.rest,
    /** @param {Option[]} options */
    fill(options) {
      const next = JSON.stringify(options);
      if (next === filled) return;
      filled = next;
      const chosen = select.value;
      select.replaceChildren(
        ...options.map(({ value, label: words, reason = "" }) =>
          element(
            "option",
            { value, disabled: Boolean(reason), "data-own-rest": Boolean(reason) },
            reason ? `${words} (${reason})` : words,
          ),
        ),
      );
      select.value = chosen;
    },
    /** @param {string} value */
    choose(value) {
      select.value = value;
    },
  };
}

/**
 * A slider with its value beside the label.
 * @param {string | Node} label
 * @param {{min: number, max: number, step: number}} range
 * @param {(value: number) => void} oninput
 */
export function slider(label, range, oninput) {
  const output = element("output", { class: "va-value" });
  const input = element("input", { type: "range", ...range, oninput: () => oninput(input.valueAsNumber) });
  const frame = field(label, input);
  frame.element.firstElementChild?.append(output);
  return {
    element: frame.element,
    input,
    rest: frame.rest,
    /**
     * @param {number} value
     * @param {string} words   the value as text
     */
    choose(value, words) {
      if (input.valueAsNumber !== value) input.value = String(value);
      setText(output, words);
      input.setAttribute("aria-valuetext", words);
    },
  };
}

/**
 * A switch with its label.
 * @param {string} label
 * @param {(checked: boolean) => void} onchange
 */
export function toggle(label, onchange) {
  const input = element("input", { type: "checkbox", onchange: () => onchange(input.checked) });
  return { element: element("label", { class: "va-toggle" }, input, element("span", {}, label)), input };
}

/**
 * A section that opens and closes.
 * @param {string} title
 * @param {...(Node | string)} children
 */
export function disclosure(title, ...children) {
  const words = element("span", {}, title);
  return element(
    "details",
    { class: "va-disclosure" },
    element("summary", {}, icon("chevron"), words),
    element("div", { class: "va-disclosed" }, ...children),
  );
}
