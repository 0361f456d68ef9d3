// Native controls: each is a node to place on the page, with methods to update it.

function selectOf(label, options, onchange) {
  const select = element("select", { "aria-label": label, onchange: () => onchange(select.value) });
  const fill = (entries) => {
    const next = JSON.stringify(entries);
    if (select.dataset.entries === next) return;
    select.dataset.entries = next;
    select.replaceChildren(...entries.map(({ value, label: text }) => element("option", { value }, text)));
  };
  fill(options);
  return { node: select, fill };
}

function entries(values, words = {}) {
  return values.map((value) => ({ value, label: words[value] ?? value }));
}

function radiosOf(legend, group, onchange) {
  const row = element("span", { class: "va-segments" });
  const reason = element("small", { class: "va-reason" });
  const node = element("fieldset", { class: "va-field" }, element("legend", {}, legend, reason), row);
  let current = "";
  return {
    node,
    fill(options) {
      const next = JSON.stringify(options);
      if (current === next) return;
      current = next;
      row.replaceChildren(
        ...options.map(({ value, label }) =>
          element(
            "label",
            {},
            element("input", { type: "radio", name: group, value, onchange: () => onchange(value) }),
            element("span", {}, label),
          ),
        ),
      );
    },
    choose(value) {
      for (const input of row.querySelectorAll("input")) input.checked = input.value === String(value);
    },
    disable(why) {
      node.disabled = Boolean(why);
      reason.textContent = why;
    },
    disableOne(value, why) {
      for (const input of row.querySelectorAll("input")) {
        if (input.value !== value) continue;
        input.disabled = Boolean(why);
        input.parentElement.title = why;
      }
    },
  };
}

function checkboxOf(label, onchange) {
  const input = element("input", { type: "checkbox", onchange: () => onchange(input.checked) });
  return { node: element("label", { class: "va-check" }, input, label), input };
}

function sliderOf(label, attributes, oninput) {
  const output = element("output");
  const input = element("input", { type: "range", "aria-label": label, ...attributes, oninput: () => oninput(Number(input.value)) });
  const node = element("div", { class: "va-field" }, element("div", { class: "va-label" }, label, output), input);
  return { node, input, output };
}

function fieldOf(label, control) {
  return element("div", { class: "va-field" }, element("div", { class: "va-label" }, label), control);
}
