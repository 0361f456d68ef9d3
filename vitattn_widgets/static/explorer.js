// The explorer's face: native controls bound to the widget's traits, and a picture that is updated in place.
// Everything shown comes from the kernel; this file only lays it out.

const UPLOAD_PART = 1 << 20; // bytes; notebook servers refuse messages larger than about 10 MB
const PRECISION = 3;
const FOUND = 50; // classes that a search lists
const FOCUSABLE = new Set(["button", "input", "select", "summary"]);

let explorers = 0;

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  // where the focus can be, JupyterLab's shortcuts would take the arrow keys from sliders, menus and the picture
  if (FOCUSABLE.has(tag) || "tabindex" in attributes) node.setAttribute("data-lm-suppress-shortcuts", "true");
  node.append(...children);
  return node;
}

function blobOf(view, type) {
  return new Blob([view], { type });
}

function number(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  return size >= 1e-4 && size < 1e5 ? String(Number(value.toPrecision(PRECISION))) : value.toExponential(PRECISION - 1);
}

// ---- small controls; each returns { node, update } ----

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
  let shown = "";
  return {
    node,
    fill(options) {
      const next = JSON.stringify(options);
      if (shown === next) return;
      shown = next;
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

// a menu of the predicted classes, and a search whose matches join it; names and order come from the kernel
function classesOf(onchange) {
  const select = element("select", {
    "aria-label": "Class",
    onchange: () => onchange(select.value === "" ? null : Number(select.value)),
  });
  const search = element("input", { type: "search", placeholder: "search by name", "aria-label": "Search a class by name" });
  const reason = element("small", { class: "va-reason" });
  const node = element(
    "fieldset",
    { class: "va-field va-classes" },
    element("legend", {}, "Class", reason),
    element("span", { class: "va-line" }, select, search),
  );
  let names = [];
  let order = [];
  let likely = [];
  let chosen = null;

  const option = (index, words = "") => element("option", { value: index }, `${names[index]}${words}`);
  const fill = () => {
    const text = search.value.trim().toLowerCase();
    const found = text ? names.map((_, index) => index).filter((index) => names[index].toLowerCase().includes(text)) : [];
    const groups = [element("option", { value: "" }, names.length ? `predicted: ${names[order[0]]}` : "none")];
    if (text) {
      const label = `${found.length} with “${search.value.trim()}”`;
      groups.push(element("optgroup", { label }, ...found.slice(0, FOUND).map((index) => option(index))));
    }
    const percent = (rank) => ` ${(100 * likely[rank]).toFixed(1)} %`;
    groups.push(element("optgroup", { label: "most probable" }, ...order.map((index, rank) => option(index, percent(rank)))));
    if (chosen !== null && !order.includes(chosen) && !found.slice(0, FOUND).includes(chosen)) groups.push(option(chosen));
    select.replaceChildren(...groups);
    select.value = chosen ?? "";
    return found;
  };
  search.addEventListener("input", fill);
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const [first] = fill();
    if (first !== undefined) onchange(first);
  });

  return {
    node,
    know(classes, facts) {
      names = classes;
      order = facts.order;
      likely = facts.likely;
      search.value = "";
      fill();
    },
    choose(target) {
      if (target === chosen) return;
      chosen = target;
      fill();
    },
    disable(why) {
      node.disabled = Boolean(why);
      reason.textContent = why;
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

// ---- the picture, its query and the patch under the pointer ----

function pictureOf(chosenQuery, choosePatch, clearQuery) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const marks = element("div", { class: "va-marks", "aria-hidden": "true" });
  const stage = element(
    "div",
    { class: "va-stage", tabindex: "0", role: "application", "aria-roledescription": "picture of patches" },
    canvas,
    marks,
  );
  const frame = element("div", { class: "va-picture" }, stage);
  const reading = element("div", { class: "va-reading", "aria-live": "polite" });
  let shown = null;
  let values = null;
  let hovered = null;

  const patchRectangle = ([row, col], [left, top, right, bottom]) => {
    const [rows, cols] = shown.grid;
    const [width, height] = shown.size;
    const [stepX, stepY] = [(right - left) / cols, (bottom - top) / rows];
    return {
      left: `${(100 * (left + col * stepX)) / width}%`,
      top: `${(100 * (top + row * stepY)) / height}%`,
      width: `${(100 * stepX) / width}%`,
      height: `${(100 * stepY) / height}%`,
    };
  };

  const drawMarks = () => {
    const wanted = [];
    for (const box of shown.boxes) {
      if (shown.query) wanted.push(["va-query", patchRectangle(shown.query, box)]);
      if (hovered) wanted.push(["va-hover", patchRectangle(hovered, box)]);
    }
    while (marks.children.length > wanted.length) marks.lastChild.remove();
    while (marks.children.length < wanted.length) marks.append(element("i"));
    wanted.forEach(([name, rectangle], index) => {
      marks.children[index].className = name;
      Object.assign(marks.children[index].style, rectangle);
    });
  };

  const read = () => {
    const patch = hovered ?? shown?.query;
    if (!patch) {
      reading.textContent = "Hover a patch for its value; click it to make it the query.";
      return;
    }
    const [row, col] = patch;
    const value = number(values.getFloat32(4 * (row * shown.grid[1] + col), true));
    reading.textContent = `${hovered ? "Patch" : "Query: patch"} row ${row}, col ${col}: ${value}`;
  };

  const patchAt = (event) => {
    if (!shown) return null;
    const bounds = canvas.getBoundingClientRect();
    const x = ((event.clientX - bounds.left) / bounds.width) * shown.size[0];
    const y = ((event.clientY - bounds.top) / bounds.height) * shown.size[1];
    for (const [left, top, right, bottom] of shown.boxes) {
      const row = Math.floor(((y - top) / (bottom - top)) * shown.grid[0]);
      const col = Math.floor(((x - left) / (right - left)) * shown.grid[1]);
      if (row >= 0 && col >= 0 && row < shown.grid[0] && col < shown.grid[1]) return [row, col];
    }
    return null;
  };

  const hover = (patch) => {
    if (JSON.stringify(patch) === JSON.stringify(hovered)) return;
    hovered = patch;
    if (shown) drawMarks();
    read();
  };

  stage.addEventListener("pointermove", (event) => hover(patchAt(event)));
  stage.addEventListener("pointerleave", () => hover(null));
  stage.addEventListener("click", (event) => {
    const patch = patchAt(event);
    if (patch) choosePatch(patch);
  });
  stage.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (!shown || !(event.key in steps || event.key === "Escape")) return;
    event.preventDefault();
    event.stopPropagation(); // else a classic notebook moves to another cell
    if (event.key === "Escape") return clearQuery();
    const [rows, cols] = shown.grid;
    // not the query that is shown: of keys in quick succession, each goes on from where the last one went
    const chosen = chosenQuery();
    const [row, col] = chosen ?? [rows >> 1, cols >> 1];
    const [down, right] = chosen ? steps[event.key] : [0, 0];
    choosePatch([Math.min(Math.max(row + down, 0), rows - 1), Math.min(Math.max(col + right, 0), cols - 1)]);
  });

  return {
    frame,
    reading,
    stage,
    draw(bitmap, next) {
      shown = next;
      values = new DataView(next.values.buffer, next.values.byteOffset, next.values.byteLength);
      if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
        canvas.width = bitmap.width;
        canvas.height = bitmap.height;
        stage.style.aspectRatio = `${bitmap.width} / ${bitmap.height}`;
        frame.classList.toggle("va-wide", bitmap.width > 1.4 * bitmap.height);
        stage.style.setProperty("--va-ratio", bitmap.width / bitmap.height);
      }
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      stage.setAttribute(
        "aria-label",
        `${next.caption}. Arrow keys choose a patch as the query, Escape returns to the default query.`,
      );
      if (hovered && (hovered[0] >= next.grid[0] || hovered[1] >= next.grid[1])) hovered = null;
      drawMarks();
      read();
    },
  };
}

// ---- the overview of all layers and heads ----

function overviewOf(choose) {
  const canvas = element("canvas", { "aria-hidden": "true" });
  const grid = element("div", { class: "va-cells", role: "grid", "aria-label": "Overview of all layers and heads" });
  const plane = element("div", { class: "va-plane" }, canvas, grid);
  const columns = element("div", { class: "va-columns", "aria-hidden": "true" });
  const rows = element("div", { class: "va-rows", "aria-hidden": "true" });
  const node = element(
    "section",
    { class: "va-overview" },
    element(
      "h3",
      {},
      "All layers and heads ",
      element("small", {}, "plain attention; a layer a column, a head a row; each map on its own scale"),
    ),
    element("div", { class: "va-table" }, element("span"), columns, rows, plane),
  );
  let heads = [];
  let most = 0;
  let chosen = { layer: null, head: null };
  let cells = [];

  const frameChosen = () => {
    for (const cell of cells) {
      const { layer, head } = cell.place;
      const here = layer === chosen.layer && (chosen.head === null || head === chosen.head);
      cell.setAttribute("aria-selected", here);
      cell.classList.toggle("va-chosen", here);
      cell.tabIndex = layer === chosen.layer && head === (chosen.head ?? 0) ? 0 : -1;
    }
    [...columns.children].forEach((label, layer) => label.classList.toggle("va-chosen", layer === chosen.layer));
    [...rows.children].forEach((label, head) => label.classList.toggle("va-chosen", head === chosen.head));
  };

  grid.addEventListener("keydown", (event) => {
    const place = event.target.place;
    const steps = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };
    if (!place || !(event.key in steps)) return;
    event.preventDefault();
    event.stopPropagation();
    const [right, down] = steps[event.key];
    const next = cells.find(
      (cell) => cell.place.layer === place.layer + right && cell.place.head === place.head + down,
    );
    if (next) {
      next.focus();
      choose(next.place.layer, next.place.head);
    }
  });

  const build = (nextHeads) => {
    if (JSON.stringify(nextHeads) === JSON.stringify(heads)) return;
    heads = nextHeads;
    most = Math.max(...heads);
    node.style.setProperty("--va-layers", heads.length);
    node.style.setProperty("--va-heads", most);
    const every = heads.length > 24 ? 4 : 1;
    columns.replaceChildren(...heads.map((_, layer) => element("span", {}, layer % every ? "" : String(layer))));
    const everyHead = most > 16 ? 2 : 1;
    rows.replaceChildren(
      ...Array.from({ length: most }, (_, head) => element("span", {}, head % everyHead ? "" : String(head))),
    );
    const lines = Array.from({ length: most }, (_, head) =>
      element(
        "div",
        { role: "row" },
        ...heads.map((count, layer) => {
          if (head >= count) return element("span", { role: "presentation" });
          const cell = element("button", {
            type: "button",
            role: "gridcell",
            "aria-label": `layer ${layer}, head ${head}`,
            title: `layer ${layer}, head ${head}`,
            onclick: () => choose(layer, head),
          });
          cell.place = { layer, head };
          return cell;
        }),
      ),
    );
    grid.replaceChildren(...lines);
    cells = [...grid.querySelectorAll("button")];
  };

  return {
    node,
    draw(bitmap, { heads: counts, cell: [height, width] }) {
      build(counts);
      node.style.setProperty("--va-cell-ratio", width / height);
      const gap = Math.max(1, Math.round(Math.min(width, height) / 12));
      const size = [counts.length * (width + gap) - gap, most * (height + gap) - gap];
      if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
      const pen = canvas.getContext("2d");
      counts.forEach((count, layer) => {
        for (let head = 0; head < most; head += 1) {
          const [x, y] = [layer * (width + gap), head * (height + gap)];
          if (head < count) pen.drawImage(bitmap, layer * width, head * height, width, height, x, y, width, height);
          else pen.clearRect(x, y, width, height);
        }
      });
      frameChosen();
    },
    choose(layer, head) {
      chosen = { layer, head };
      frameChosen();
    },
  };
}

// ---- the whole explorer ----

function render({ model, el }) {
  const id = `va-${(explorers += 1)}`;
  const listeners = [];
  const listen = (event, callback) => {
    model.on(event, callback);
    listeners.push([event, callback]);
  };
  const set = (name, value) => {
    model.set(name, value);
    model.save_changes(); // one message is on its way at a time; of later values the last one follows
  };
  const setAll = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };

  // choosing
  const thumbnails = element("div", { class: "va-thumbnails", role: "group", "aria-label": "Pictures" });
  const uploadInput = element("input", { type: "file", accept: "image/*", multiple: true, class: "va-hidden", "aria-label": "Upload pictures" });
  uploadInput.addEventListener("change", async () => {
    for (const file of uploadInput.files) await upload(model, file);
    uploadInput.value = "";
  });
  const uploadButton = element("label", { class: "va-upload", title: "Upload one or several pictures" }, uploadInput, element("b", { "aria-hidden": "true" }, "+"), element("span", {}, "upload"));
  const modelSelect = selectOf("Model", [], (value) => set("model", value));
  const modelFacts = element("small", { class: "va-facts" });
  const source = selectOf("Source", [], (value) => set("source", value));
  const used = element(
    "button",
    {
      type: "button",
      title: "The recommended source for this question: gradient x attention of the late layers, sinks outlined",
      onclick: () => setAll(model.get("_menus").recommended),
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

  // drawing
  const arrangement = radiosOf("Show", `${id}-arrangement`, (value) => set("arrangement", value));
  const on = radiosOf("On", `${id}-on`, (value) => set("on", value));
  const sinks = radiosOf("Sinks", `${id}-sinks`, (value) => set("sinks", value));
  const scale = radiosOf("Scale", `${id}-scale`, (value) => set("scale", value));
  const opacity = sliderOf("Opacity", { min: 0, max: 1, step: 0.01 }, (value) => {
    opacity.output.textContent = `${Math.round(100 * value)} %`;
    set("opacity", value);
  });
  const cmap = selectOf("Colour map", [], (value) => set("cmap", value));
  const steps = ["bilinear", "median", "gaussian"].map((name) => [
    name,
    checkboxOf(name === "gaussian" ? "Gaussian" : name, (checked) => set(name, checked)),
  ]);

  // reading
  const patchQuery = () => (Array.isArray(model.get("query")) ? model.get("query") : null);
  const picture = pictureOf(patchQuery, (patch) => set("query", patch), () => set("query", null));
  const overview = overviewOf((chosenLayer, chosenHead) => setAll({ layer: chosenLayer, head: chosenHead }));
  const bar = element("canvas", { class: "va-bar", width: 256, height: 1, "aria-hidden": "true" });
  const low = element("span");
  const middle = element("span");
  const high = element("span");
  const unit = element("div", { class: "va-unit" });
  const predictions = element("ol", { class: "va-predictions" });
  const caption = element("p", { class: "va-caption" });
  const status = element("div", { class: "va-status", role: "status", "aria-live": "polite" });
  const checkButton = element(
    "button",
    {
      type: "button",
      title: "Remove what the map marks, shuffle the model's last weights, silence heads: a few seconds",
      onclick: () => model.send({ kind: "check" }),
    },
    "Is this map worth anything?",
  );
  const checked = element("section", { class: "va-checked", "aria-live": "polite" });
  const code = element("pre", { tabindex: "0", "aria-label": "Python that makes this picture" });
  const copy = element("button", { type: "button", onclick: () => copyText(code, copy) }, "Copy");
  const download = (what, label, title) =>
    element("button", { type: "button", title, onclick: () => model.send({ kind: "download", what }) }, label);

  const root = element(
    "div",
    { class: "va-explorer" },
    element(
      "header",
      {},
      element("div", { class: "va-strip" }, thumbnails, uploadButton),
      element("label", { class: "va-model" }, element("span", { class: "va-label" }, "Model"), modelSelect.node, modelFacts),
    ),
    element(
      "div",
      { class: "va-body" },
      element(
        "div",
        { class: "va-left" },
        picture.frame,
        element("div", { class: "va-legend" }, bar, element("div", { class: "va-ticks" }, low, middle, high), unit),
        picture.reading,
        element("section", { class: "va-answer" }, element("h3", {}, "The model's answer"), predictions),
      ),
      element(
        "div",
        { class: "va-right" },
        element(
          "section",
          { class: "va-group" },
          element(
            "div",
            { class: "va-field" },
            element("div", { class: "va-label" }, "Source"),
            element("div", { class: "va-line" }, source.node, used),
          ),
          target.node,
          layer.node,
          head.node,
          aggregation.node,
          element(
            "div",
            { class: "va-field" },
            element("div", { class: "va-label" }, "Query"),
            element("div", { class: "va-line" }, query.node, clear),
          ),
        ),
        element(
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
          element("div", { class: "va-field" }, element("div", { class: "va-label" }, "Colour map"), cmap.node),
        ),
        overview.node,
      ),
    ),
    caption,
    element("div", { class: "va-line" }, checkButton),
    checked,
    status,
    element(
      "footer",
      {},
      element(
        "div",
        { class: "va-line va-keep" },
        element("span", { class: "va-label" }, "Keep"),
        download("png", "PNG", "the picture"),
        download("npz", "NPZ", "the raw map, for numpy.load"),
        download("recipe", "Recipe", "JSON from which va.from_recipe makes this picture again"),
      ),
      element("details", {}, element("summary", {}, "Show code"), element("div", { class: "va-code" }, code, copy)),
    ),
  );
  el.append(root);

  const nameLayer = (index) => {
    const layers = model.get("_facts").layers ?? [];
    layer.output.textContent = layers[index] ? `${index} of 0–${layers.length - 1} · ${layers[index].name}` : "";
    layer.input.setAttribute("aria-valuetext", layers[index] ? `layer ${index}, ${layers[index].name}` : "none");
  };

  const updateMenus = () => {
    const menus = model.get("_menus");
    if (!menus.models) return;
    modelSelect.fill(entries(menus.models));
    modelSelect.node.disabled = menus.models.length < 2;
    aggregation.fill(entries(menus.aggregations, { mean_over_std: "mean / std" }));
    source.fill(Object.entries(menus.sources).map(([value, { title }]) => ({ value, label: title })));
    sinks.fill(entries(menus.sinks, { leave_out: "leave out" }));
    scale.fill(entries(menus.scales, { map: "own", shared: "shared", robust: "robust" }));
    on.fill(entries(menus.grounds, { view: "model's view", original: "whole photo" }));
    arrangement.fill(entries(menus.arrangements));
    const names = menus.pictures.map(({ name }) => name);
    if (JSON.stringify(names) !== thumbnails.dataset.names) {
      thumbnails.dataset.names = JSON.stringify(names);
      for (const image of thumbnails.querySelectorAll("img")) URL.revokeObjectURL(image.src);
      thumbnails.replaceChildren(
        ...menus.pictures.map(({ name, thumbnail }) => {
          const shown = thumbnail.byteLength
            ? element("img", { src: URL.createObjectURL(blobOf(thumbnail, "image/jpeg")), alt: "" })
            : element("span", { class: "va-broken", "aria-hidden": "true" }, "?");
          const button = element("button", { type: "button", title: name, onclick: () => set("picture", name) }, shown, element("span", {}, name));
          button.picture = name;
          return button;
        }),
      );
    }
    updateControls();
  };

  const updateControls = () => {
    const facts = model.get("_facts");
    const menus = model.get("_menus");
    if (menus.models) modelSelect.node.value = model.get("model");
    for (const button of thumbnails.children) {
      button.setAttribute("aria-pressed", button.picture === model.get("picture"));
    }
    arrangement.choose(model.get("arrangement"));
    on.choose(model.get("on"));
    sinks.choose(model.get("sinks"));
    scale.choose(model.get("scale"));
    source.node.value = model.get("source");
    for (const [name, box] of steps) box.input.checked = model.get(name);
    const overlaid = model.get("arrangement") === "overlay";
    opacity.input.disabled = !overlaid;
    opacity.input.value = model.get("opacity");
    opacity.output.textContent = overlaid ? `${Math.round(100 * model.get("opacity"))} %` : "for an overlay only";
    const known = menus.cmaps ?? [];
    const chosenMap = model.get("cmap");
    cmap.fill(entries(known.includes(chosenMap) ? known : [...known, chosenMap]));
    cmap.node.value = chosenMap;
    if (!facts.layers) return;

    const index = Math.min(Math.max(model.get("layer"), 0), facts.layers.length - 1);
    const here = facts.layers[index];
    layer.input.max = facts.layers.length - 1;
    layer.input.value = index;
    nameLayer(index);
    const count = here.heads;
    head.fill(entries(["all", ...Array(count).keys()].map(String)));
    const chosenHead = model.get("head");
    const made = menus.sources[model.get("source")];
    head.choose(chosenHead ?? "all");
    head.disable(made.noHead);
    aggregation.choose(model.get("aggregation"));
    const alone = chosenHead === null || made.noHead ? "" : `head ${chosenHead} alone is shown`;
    aggregation.disable(made.noAggregation || alone);
    const ratio = made.aggregations.includes("mean_over_std") ? "" : "a mean over a deviation is no attention matrix";
    aggregation.disableOne("mean_over_std", count < 2 ? "needs at least two heads" : ratio);
    const classes = model.get("_classes").length;
    used.disabled = !classes;
    target.disable(classes ? made.noClass : "this model has no classifier");
    target.choose(model.get("target"));
    for (const option of source.node.options) {
      const needs = !classes && !menus.sources[option.value].noClass;
      option.disabled = needs;
      option.title = needs ? "needs a class, and this model has no classifier" : "";
    }
    const chosenQuery = model.get("query");
    const isPatch = Array.isArray(chosenQuery);
    query.fill([
      { value: "default", label: `${here.default} (default)` },
      ...here.queries,
      {
        value: "patch",
        label: isPatch ? `patch at row ${chosenQuery[0]}, col ${chosenQuery[1]}` : here.patches ? "a patch: click the picture" : "no patch queries in this layer",
      },
    ]);
    query.node.querySelector("option[value=patch]").disabled = !isPatch;
    query.node.value = isPatch ? "patch" : (chosenQuery ?? "default");
    clear.textContent = `Back to the ${here.default}`;
    clear.disabled = chosenQuery === null;
    overview.choose(index, chosenHead);
  };

  const updateFacts = () => {
    const facts = model.get("_facts");
    if (!facts.layers) return;
    target.know(model.get("_classes"), facts);
    modelFacts.textContent = facts.model.slice(facts.model.indexOf(": ") + 2);
    predictions.replaceChildren(
      ...facts.top.map(({ name, probability }) => {
        const filled = element("i");
        filled.style.width = `${100 * probability}%`;
        return element(
          "li",
          {},
          element("span", { class: "va-class", title: name }, name),
          element("span", { class: "va-track" }, filled),
          element("span", { class: "va-percent" }, `${(100 * probability).toFixed(1)} %`),
        );
      }),
    );
    if (!facts.top.length) predictions.replaceChildren(element("li", { class: "va-none" }, "This model has no classifier."));
    updateControls();
  };

  let newest = 0;
  let drawn = 0;
  const updateShown = async () => {
    const shown = model.get("_shown");
    if (!shown.image) return;
    const turn = (newest += 1);
    const bitmap = await createImageBitmap(blobOf(shown.image, shown.mime));
    if (turn < drawn) return; // a later picture was decoded first
    drawn = turn;
    picture.draw(bitmap, shown);
    bitmap.close();
    caption.textContent = shown.caption;
    code.textContent = shown.code;
    low.textContent = number(shown.range[0]);
    middle.textContent = number((shown.range[0] + shown.range[1]) / 2);
    high.textContent = number(shown.range[1]);
    unit.textContent = shown.unit;
    const colors = new Uint8Array(shown.colors.buffer, shown.colors.byteOffset, 768);
    const pixels = new ImageData(256, 1);
    for (let step = 0; step < 256; step += 1) pixels.data.set([...colors.subarray(3 * step, 3 * step + 3), 255], 4 * step);
    bar.getContext("2d").putImageData(pixels, 0, 0);
    updateStatus();
    root.dataset.shown = JSON.stringify(shown.settings);
  };

  const updateCheck = () => {
    const check = model.get("_check");
    for (const image of checked.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    checked.replaceChildren();
    if (!check.sentences) return;
    checked.append(
      element("ul", {}, ...check.sentences.map((sentence) => element("li", {}, sentence))),
      element("img", {
        src: URL.createObjectURL(blobOf(check.image, "image/png")),
        alt: "Curves of the class's probability while patches are removed and given back, in four orders",
      }),
    );
  };

  let overviews = 0;
  const updateOverview = async () => {
    const next = model.get("_overview");
    if (!next.image) return;
    const turn = (overviews += 1);
    const bitmap = await createImageBitmap(blobOf(next.image, next.mime));
    if (turn === overviews) overview.draw(bitmap, next);
    bitmap.close();
  };

  const updateStatus = () => {
    status.textContent = model.get("status");
    status.classList.toggle("va-busy", model.get("_busy"));
    checkButton.disabled = model.get("_busy") || !model.get("_shown").image || !model.get("_classes").length;
  };

  const controls = ["model", "picture", "arrangement", "layer", "head", "aggregation", "query", "bilinear", "median"];
  for (const name of [...controls, "gaussian", "source", "target", "sinks", "scale", "opacity", "cmap", "on"]) listen(`change:${name}`, updateControls);
  listen("change:_menus", updateMenus);
  listen("change:_facts", updateFacts);
  listen("change:_shown", updateShown);
  listen("change:_overview", updateOverview);
  listen("change:_check", updateCheck);
  listen("change:status", updateStatus);
  listen("change:_busy", updateStatus);
  listen("msg:custom", (message, buffers) => {
    if (message.kind === "file") save(message.name, blobOf(buffers[0], message.mime));
  });

  updateMenus();
  updateFacts();
  updateShown();
  updateOverview();
  updateCheck();
  updateStatus();

  return () => {
    for (const [event, callback] of listeners) model.off(event, callback);
    for (const image of root.querySelectorAll(".va-thumbnails img, .va-checked img")) URL.revokeObjectURL(image.src);
  };
}

async function upload(model, file) {
  const id = `${Date.now()}-${Math.random()}`;
  const bytes = await file.arrayBuffer();
  for (let start = 0; start === 0 || start < bytes.byteLength; start += UPLOAD_PART) {
    const part = bytes.slice(start, start + UPLOAD_PART);
    const last = start + UPLOAD_PART >= bytes.byteLength;
    model.send({ kind: "upload", id, name: file.name, last }, undefined, [part]);
  }
}

function save(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = element("a", { href: url, download: name, class: "va-hidden" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

async function copyText(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // without permission to the clipboard the text is selected, ready for Ctrl-C
    getSelection().selectAllChildren(code);
    button.textContent = "Press Ctrl-C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

export default { render };
