// Which map: source, class, layer, head, aggregation, query. A control without effect is greyed, with the reason.

function choicesOf({ id, get, set, setAll }) {
  const source = selectOf("Source", [], (value) => set("source", value));
  const used = element(
    "button",
    {
      type: "button",
      title: "Shows the recommended view for this question: gradient x attention of the late layers, sinks outlined",
      onclick: () => setAll(get("_menus").recommended),
    },
    "What did the classifier use?",
  );
  const target = classesOf((value) => set("target", value));
  const layer = sliderOf("Layer", { min: 0, max: 0, step: 1 }, (value) => {
    nameLayer(value);
    set("layer", value);
  });
  const head = radiosOf("Head", `${id}-head`, (value) => set("head", value === "all" ? null : Number(value)));
  const aggregation = radiosOf("Aggregation", `${id}-aggregation`, (value) => set("aggregation", value));
  const query = selectOf("Query", [], (value) => {
    if (!value.startsWith("patch")) set("query", value === "default" ? null : value);
  });
  const clear = element("button", { type: "button", onclick: () => set("query", null) });

  const nameLayer = (index) => {
    const layers = get("_facts").layers ?? [];
    layer.output.textContent = layers[index] ? `${index} of 0–${layers.length - 1} · ${layers[index].name}` : "";
    layer.input.setAttribute("aria-valuetext", layers[index] ? `layer ${index}, ${layers[index].name}` : "none");
  };

  const updateSource = (made) => {
    const classes = get("_classes").length;
    used.disabled = !classes;
    target.disable(classes ? made.noClass : "this model has no classifier");
    target.choose(get("target"));
    for (const option of source.node.options) {
      const needs = !classes && !get("_menus").sources[option.value].noClass;
      option.disabled = needs;
      option.title = needs ? "needs a class, and this model has no classifier" : "";
    }
  };

  const updateHeads = (made, count) => {
    head.fill(entries(["all", ...Array(count).keys()].map(String)));
    const chosen = get("head");
    head.choose(chosen ?? "all");
    head.disable(made.noHead);
    aggregation.choose(get("aggregation"));
    const alone = chosen === null || made.noHead ? "" : `only head ${chosen} is shown`;
    aggregation.disable(made.noAggregation || alone);
    const ratio = made.aggregations.includes("mean_over_std") ? "" : "mean / std is not an attention matrix";
    aggregation.disableOne("mean_over_std", count < 2 ? "needs at least two heads" : ratio);
  };

  const updateQuery = (here) => {
    const chosen = get("query");
    const isPatch = Array.isArray(chosen);
    const click = here.patches ? "a patch: click the picture" : "this layer has no patch queries";
    query.fill([
      { value: "default", label: `${here.default} (default)` },
      ...here.queries,
      { value: "patch", label: isPatch ? `patch at row ${chosen[0]}, col ${chosen[1]}` : click },
    ]);
    query.node.querySelector("option[value=patch]").disabled = !isPatch;
    query.node.value = isPatch ? "patch" : (chosen ?? "default");
    clear.textContent = `Back to the ${here.default}`;
    clear.disabled = chosen === null;
  };

  return {
    node: element(
      "section",
      { class: "va-group" },
      fieldOf("Source", element("div", { class: "va-line" }, source.node, used)),
      target.node,
      layer.node,
      head.node,
      aggregation.node,
      fieldOf("Query", element("div", { class: "va-line" }, query.node, clear)),
    ),
    fill(menus) {
      source.fill(Object.entries(menus.sources).map(([value, { title }]) => ({ value, label: title })));
      aggregation.fill(entries(menus.aggregations, { mean_over_std: "mean / std" }));
    },
    know(facts) {
      target.know(get("_classes"), facts);
    },
    update() {
      source.node.value = get("source");
      const { layers } = get("_facts");
      if (!layers) return;
      const index = Math.min(Math.max(get("layer"), 0), layers.length - 1);
      layer.input.max = layers.length - 1;
      layer.input.value = index;
      nameLayer(index);
      const made = get("_menus").sources[get("source")];
      updateHeads(made, layers[index].heads);
      updateSource(made);
      updateQuery(layers[index]);
    },
  };
}
