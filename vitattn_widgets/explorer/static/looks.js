// How the map is drawn: arrangement, ground, sinks, scale, smoothing, opacity, colours.

function looksOf({ id, get, set }) {
  const arrangement = radiosOf("Show", `${id}-arrangement`, (value) => set("arrangement", value));
  const on = radiosOf("On", `${id}-on`, (value) => set("on", value));
  const sinks = radiosOf("Sinks", `${id}-sinks`, (value) => set("sinks", value));
  const scale = radiosOf("Scale", `${id}-scale`, (value) => set("scale", value));
  const percent = (value) => `${Math.round(100 * value)}%`;
  const opacity = sliderOf("Opacity", { min: 0, max: 1, step: 0.01 }, (value) => {
    opacity.output.textContent = percent(value);
    set("opacity", value);
  });
  const cmap = selectOf("Colour map", [], (value) => set("cmap", value));
  const steps = ["bilinear", "median", "gaussian"].map((name) => [
    name,
    checkboxOf(name === "gaussian" ? "Gaussian" : name, (checked) => set(name, checked)),
  ]);

  return {
    node: element(
      "section",
      { class: "va-group va-drawing" },
      arrangement.node,
      on.node,
      sinks.node,
      scale.node,
      element(
        "fieldset",
        { class: "va-field" },
        element("legend", {}, "Smoothing"),
        element("span", { class: "va-line" }, ...steps.map(([, box]) => box.node)),
      ),
      opacity.node,
      fieldOf("Colour map", cmap.node),
    ),
    fill(menus) {
      arrangement.fill(entries(menus.arrangements));
      on.fill(entries(menus.grounds, { view: "model's view", original: "whole photo" }));
      sinks.fill(entries(menus.sinks, { leave_out: "leave out" }));
      scale.fill(entries(menus.scales, { map: "own", shared: "shared", robust: "robust" }));
    },
    update() {
      arrangement.choose(get("arrangement"));
      on.choose(get("on"));
      sinks.choose(get("sinks"));
      scale.choose(get("scale"));
      for (const [name, box] of steps) box.input.checked = get(name);
      const overlaid = get("arrangement") === "overlay";
      opacity.input.disabled = !overlaid;
      opacity.input.value = get("opacity");
      opacity.output.textContent = overlaid ? percent(get("opacity")) : "for overlays only";
      const known = get("_menus").cmaps ?? [];
      const chosen = get("cmap");
      cmap.fill(entries(known.includes(chosen) ? known : [...known, chosen]));
      cmap.node.value = chosen;
    },
  };
}
