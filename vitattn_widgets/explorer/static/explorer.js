// The explorer in the browser: native controls bound to the widget's traits, and a picture that is updated in place.
// Everything shown comes from the kernel; these files only lay it out. They are joined into one module.

const CONTROLS = [
  ...["model", "picture", "arrangement", "layer", "head", "aggregation", "query", "source", "target", "sinks"],
  ...["bilinear", "median", "gaussian", "scale", "opacity", "cmap", "on"],
];

let explorers = 0;

// what the parts of the page need of the widget's model; `cut` stops the listeners of a view that was removed
function wiresOf(model) {
  const listeners = [];
  const setAll = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes(); // one message is under way at a time; of the values set meanwhile, the last one follows
  };
  return {
    id: `va-${(explorers += 1)}`,
    get: (name) => model.get(name),
    set: (name, value) => setAll({ [name]: value }),
    setAll,
    send: (content, buffers = []) => model.send(content, undefined, buffers),
    listen(event, callback) {
      model.on(event, callback);
      listeners.push([event, callback]);
    },
    cut() {
      for (const [event, callback] of listeners) model.off(event, callback);
    },
  };
}

// draws bitmaps in the order of the calls: one that is decoded after a later one is dropped
function latest(draw) {
  let newest = 0;
  let drawn = 0;
  return async (content, mime, ...rest) => {
    const turn = (newest += 1);
    const bitmap = await createImageBitmap(blobOf(content, mime));
    if (turn > drawn) {
      drawn = turn;
      draw(bitmap, ...rest);
    }
    bitmap.close();
  };
}

function render({ model, el }) {
  const wires = wiresOf(model);
  const { get, set, setAll, listen } = wires;
  const photos = photosOf(wires);
  const choices = choicesOf(wires);
  const looks = looksOf(wires);
  const patchQuery = () => (Array.isArray(get("query")) ? get("query") : null);
  const picture = pictureOf(patchQuery, (patch) => set("query", patch), () => set("query", null));
  const legend = legendOf();
  const answer = answerOf();
  const overview = overviewOf((layer, head) => setAll({ layer, head }));
  const check = checkOf(wires);
  const compare = compareOf(wires);
  const keep = keepOf(wires);
  const caption = element("p", { class: "va-caption" });
  const status = element("div", { class: "va-status", role: "status", "aria-live": "polite" });
  const root = element(
    "div",
    { class: "va-explorer" },
    photos.node,
    element(
      "div",
      { class: "va-body" },
      element("div", { class: "va-left" }, picture.frame, legend.node, picture.reading, answer.node),
      element("div", { class: "va-right" }, choices.node, looks.node, overview.node),
    ),
    caption,
    element("div", { class: "va-line" }, check.button),
    check.found,
    compare.node,
    status,
    keep.node,
  );
  el.append(root);

  const updateControls = () => {
    if (!get("_menus").models) return;
    for (const part of [photos, choices, looks, compare]) part.update();
    const { layers } = get("_facts");
    if (layers) overview.choose(Math.min(Math.max(get("layer"), 0), layers.length - 1), get("head"));
  };

  const updateMenus = () => {
    const menus = get("_menus");
    if (!menus.models) return;
    for (const part of [photos, choices, looks, compare]) part.fill(menus);
    updateControls();
  };

  const updateFacts = () => {
    const facts = get("_facts");
    if (!facts.layers) return;
    choices.know(facts);
    answer.draw(facts.top);
    updateControls();
  };

  const updateStatus = () => {
    status.textContent = get("status");
    status.classList.toggle("va-busy", get("_busy"));
    check.update();
    if (get("_menus").models) compare.update();
  };

  const drawShown = latest((bitmap, shown) => {
    picture.draw(bitmap, shown);
    legend.draw(shown);
    caption.textContent = shown.caption;
    keep.code.textContent = shown.code;
    updateStatus();
    root.dataset.shown = JSON.stringify(shown.settings);
  });
  const updateShown = () => {
    const shown = get("_shown");
    if (shown.image) drawShown(shown.image, shown.mime, shown);
  };

  const drawOverview = latest((bitmap, next) => overview.draw(bitmap, next));
  const updateOverview = () => {
    const next = get("_overview");
    if (next.image) drawOverview(next.image, next.mime, next);
  };

  for (const name of CONTROLS) {
    listen(`change:${name}`, updateControls);
    listen(`change:${name}`, compare.moved);
  }
  const updates = {
    _menus: updateMenus,
    _facts: updateFacts,
    _shown: updateShown,
    _overview: updateOverview,
    _check: check.draw,
    _row: compare.draw,
    _row_wanted: compare.follow,
    panel_scale: updateControls,
    status: updateStatus,
    _busy: updateStatus,
  };
  for (const [name, update] of Object.entries(updates)) {
    listen(`change:${name}`, update);
    update();
  }
  listen("msg:custom", (message, buffers) => {
    if (message.kind === "file") save(message.name, blobOf(buffers[0], message.mime));
  });

  return () => {
    wires.cut();
    for (const part of [photos, check, compare]) part.forget();
  };
}

export default { render };
