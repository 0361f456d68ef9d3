// The exported page: it chooses among finished maps and blends them with the photo.

async function showPage() {
  const root = document.getElementById("va-page");
  const facts = JSON.parse(document.getElementById("va-facts").textContent);
  const texts = [...document.querySelectorAll("script.va-block")].map((block) => block.textContent);
  facts.colors = Uint8Array.from(atob(facts.colors), (letter) => letter.charCodeAt(0));
  const [photo, overviewPicture, ...markPictures] = document.querySelectorAll("#va-pictures img");
  await Promise.all([photo, overviewPicture, ...markPictures].map((image) => image.decode()));

  const unpack = unpackerOf(facts.maps, texts);
  const stage = stageOf(root, facts);
  const sheets = new Map(facts.sheets.map((sheet, index) => [`${sheet.source} ${sheet.layer}`, { ...sheet, index }]));
  const state = { ...facts.start };
  let alone = false;

  const sheetNow = () => sheets.get(`${state.source} ${state.layer}`);
  const mapNow = () => {
    const { choices } = sheetNow();
    const wanted = choices.indexOf(state.head ?? state.aggregation);
    return Math.max(wanted, 0);
  };
  const settingsNow = () => {
    const choice = sheetNow().choices[mapNow()];
    const chosen = typeof choice === "number" ? { head: choice, aggregation: "mean" } : { head: null, aggregation: choice ?? "mean" };
    const { source, layer, query } = sheetNow();
    return { ...facts.recipe.settings, source, layer, query, ...chosen, opacity: state.opacity };
  };

  // controls
  const source = selectOf("Source", Object.entries(facts.sources).map(([value, { title }]) => ({ value, label: title })), (value) =>
    choose({ source: value }),
  );
  const layer = sliderOf("Layer", { min: 0, max: facts.layers.length - 1, step: 1 }, (value) => choose({ layer: value }));
  const head = radiosOf("Head", "va-head", (value) => choose({ head: value === "all" ? null : Number(value) }));
  const aggregation = radiosOf("Aggregation", "va-aggregation", (value) => choose({ aggregation: value }));
  const opacity = sliderOf("Opacity", { min: 0, max: 1, step: 0.01 }, (value) => choose({ opacity: value }));
  const hold = element("button", { type: "button", "aria-pressed": "false" }, "Hold to see the photo");
  const overview = overviewOf((chosenLayer, chosenHead) => choose({ layer: chosenLayer, head: chosenHead }));
  const legend = legendOf();
  const shares = element("p", { class: "va-shares" });
  aggregation.fill(entries(facts.aggregations, { mean_over_std: "mean / std" }));

  const press = (down) => {
    alone = down;
    hold.setAttribute("aria-pressed", down);
    stage.blend(photo, state.opacity, alone);
  };
  hold.addEventListener("pointerdown", (event) => {
    hold.setPointerCapture(event.pointerId);
    press(true);
  });
  for (const end of ["pointerup", "pointercancel", "blur"]) hold.addEventListener(end, () => press(false));
  hold.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press on a phone
  hold.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && press(true));
  hold.addEventListener("keyup", () => press(false));

  // downloads and texts to copy
  const code = document.getElementById("va-code");
  const recipe = document.getElementById("va-recipe");
  const copyOf = (text) => {
    const copy = element("button", { type: "button", onclick: () => copyText(text, copy) }, "Copy");
    return copy;
  };
  code.after(copyOf(code));
  recipe.after(copyOf(recipe));
  const nameNow = () => sheetNow().names[mapNow()];
  const savePicture = () => {
    stage.canvas.toBlob((blob) => save(`${nameNow()}.png`, blob));
  };
  const saveRecipe = () => save(`${nameNow()}.json`, new Blob([recipe.textContent], { type: "application/json" }));

  const group = element("section", { class: "va-group va-controls" });
  if (Object.keys(facts.sources).length > 1) group.append(fieldOf("Source", source.node));
  group.append(layer.node, head.node, aggregation.node, opacity.node, element("div", { class: "va-line" }, hold));
  root.querySelector(".va-right").prepend(group, overview.node);
  root.querySelector(".va-legend").replaceWith(legend.node);
  root.querySelector(".va-caption").after(shares);
  root.querySelector("footer").prepend(
    element(
      "div",
      { class: "va-line va-keep" },
      element("span", { class: "va-label" }, "Keep"),
      element("button", { type: "button", title: "Saves the picture", onclick: savePicture }, "PNG"),
      element("button", { type: "button", title: "Saves JSON from which va.from_recipe draws this picture again", onclick: saveRecipe }, "Recipe"),
      element("button", { type: "button", onclick: () => print() }, "Print"),
    ),
  );
  overview.draw(overviewPicture, facts.overview);

  const showControls = () => {
    const sheet = sheetNow();
    const made = facts.sources[state.source];
    const { heads, name } = facts.layers[state.layer];
    source.node.value = state.source;
    layer.input.value = state.layer;
    layer.input.setAttribute("aria-valuetext", `layer ${state.layer}, ${name}`);
    layer.output.textContent = `${state.layer} of 0–${facts.layers.length - 1} · ${name}`;
    head.fill(entries(["all", ...Array(heads).keys()].map(String)));
    head.choose(made.noHead ? "all" : (state.head ?? "all"));
    head.disable(made.noHead);
    aggregation.choose(state.aggregation);
    aggregation.disable(made.noAggregation || (state.head === null ? "" : `only head ${state.head} is shown`));
    for (const one of facts.aggregations) {
      const why = made.aggregations.includes(one) ? "needs at least two heads" : "mean / std is not an attention matrix";
      aggregation.disableOne(one, sheet.choices.includes(one) ? "" : why);
    }
    opacity.input.value = state.opacity;
    opacity.output.textContent = `${Math.round(100 * state.opacity)}%`;
    overview.choose(state.layer, made.noHead ? null : state.head);
  };

  const showTexts = () => {
    const sheet = sheetNow();
    const map = mapNow();
    const [before, line, after] = [facts.code.before, sheet.code[map], facts.code.after[state.source]];
    root.querySelector(".va-caption").textContent = sheet.captions[map];
    code.textContent = [before, line.replace("{opacity}", state.opacity), after].join("\n");
    recipe.textContent = JSON.stringify({ ...facts.recipe, settings: settingsNow() }, null, 2);
    const list = sheet.shares.map((share) => `${(100 * share).toFixed(1)}%`);
    shares.textContent = `Prefix share${list.length > 1 ? " by head" : ""}: ${list.join(", ")}`;
    legend.draw({ range: sheet.ranges[map], unit: sheet.units[map], colors: facts.colors });
  };

  // of maps chosen in quick succession, only the last one is drawn
  let newest = 0;
  const showMap = async () => {
    const turn = (newest += 1);
    const sheet = sheetNow();
    const map = mapNow();
    const unpacked = await unpack(sheet.index, sheet.choices.length);
    if (turn !== newest) return;
    stage.show({
      codes: unpacked.heat(map),
      values: unpacked.values(map),
      unit: sheet.units[map],
      query: Array.isArray(sheet.query) ? sheet.query : null,
      caption: sheet.captions[map],
      marks: markPictures[sheet.marks],
    });
    stage.blend(photo, state.opacity, alone);
    root.dataset.shown = JSON.stringify(settingsNow());
  };

  let remembering = 0;
  const remember = () => {
    clearTimeout(remembering);
    remembering = setTimeout(() => history.replaceState(null, "", `#${new URLSearchParams(kept())}`), 300);
  };
  const kept = () => Object.fromEntries(Object.entries(state).filter(([, value]) => value !== null));

  const fit = () => {
    const sheet = sheetNow();
    if (!sheet.choices.includes(state.head)) state.head = null;
    const possible = sheet.choices.filter((choice) => typeof choice === "string");
    if (possible.length && !possible.includes(state.aggregation)) [state.aggregation] = possible;
  };

  const choose = (values) => {
    const moved = Object.keys(values).some((name) => name !== "opacity");
    Object.assign(state, values);
    fit();
    showControls();
    showTexts();
    if (moved) showMap();
    else {
      stage.blend(photo, state.opacity, alone);
      root.dataset.shown = JSON.stringify(settingsNow());
    }
    remember();
  };

  // the page's address may choose the map; what does not exist is ignored
  const recall = () => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const whole = (name, below) => {
      const value = Number(wanted.get(name) ?? NaN);
      return Number.isInteger(value) && value >= 0 && value < below ? value : null;
    };
    if (wanted.get("source") in facts.sources) state.source = wanted.get("source");
    state.layer = whole("layer", facts.layers.length) ?? state.layer;
    if (wanted.has("layer")) state.head = whole("head", facts.layers[state.layer].heads);
    if (facts.aggregations.includes(wanted.get("aggregation"))) state.aggregation = wanted.get("aggregation");
    const share = Number(wanted.get("opacity") ?? NaN);
    if (share >= 0 && share <= 1) state.opacity = share;
    fit();
  };

  // unpacks the other maps while the browser is idle
  const idle = () => new Promise((go) => (globalThis.requestIdleCallback ? requestIdleCallback(go) : setTimeout(go, 50)));
  const unpackAll = async () => {
    for (const { index, choices } of sheets.values()) {
      await idle();
      await unpack(index, choices.length);
    }
  };

  recall();
  showControls();
  showTexts();
  await showMap();
  root.classList.add("va-live");
  unpackAll();
  addEventListener("hashchange", () => {
    recall();
    choose({ layer: state.layer });
  });
}

showPage().catch((error) => {
  document.querySelector(".va-status").textContent =
    `This browser cannot unpack the maps (${error.message}), so the page shows only one. Use a browser from 2023 or later.`;
});
