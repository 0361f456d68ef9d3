// Views kept side by side on one colour scale, and the difference of two of them.

function compareOf(wires) {
  const { id, get, set, setAll, send } = wires;
  const pin = element("button", { type: "button", class: "va-pin", onclick: () => send({ kind: "pin" }) });
  const presets = element("span", { class: "va-presets", role: "group", "aria-label": "Fill the comparison" });
  const scale = radiosOf("Scale", `${id}-panel-scale`, (value) => set("panel_scale", value));
  const figure = element(
    "button",
    { type: "button", title: "Saves the row as a figure (PNG)", onclick: () => send({ kind: "download", what: "comparison" }) },
    "Figure",
  );
  const clear = element("button", { type: "button", onclick: () => set("panels", []) }, "Clear");
  const panels = panelsOf(setAll, (views) => set("panels", views));
  const legend = legendOf();
  const common = element("p", { class: "va-common" });
  const difference = differenceOf((pair) => set("difference", pair));
  const filled = element(
    "div",
    { class: "va-row" },
    element("div", { class: "va-side" }, panels.node, element("div", { class: "va-beside" }, legend.node, common)),
    difference.node,
    difference.choice,
  );
  const tools = element("span", { class: "va-tools" }, scale.node, figure, clear);
  const hint = element("p", { class: "va-hint" }, "Keep this view beside others, all on one colour scale.");
  const node = element(
    "section",
    { class: "va-compare", "aria-label": "Comparison" },
    element("div", { class: "va-line" }, element("h3", {}, "Compare"), pin, presets, tools),
    hint,
    filled,
  );
  const follower = followerOf(wires, node);

  const show = (row) => {
    const any = row.panels.length > 0;
    filled.hidden = tools.hidden = !any;
    hint.hidden = any;
    if (any) {
      legend.draw(row);
      common.textContent = row.common;
    }
    update();
    follower.follow();
    const { version = 0, range = [] } = row;
    node.dataset.drawn = JSON.stringify({ version, range, titles: row.panels.map(({ title }) => title) });
  };

  // why a preset is unavailable for the current view
  const reasons = () => {
    const { layers } = get("_facts");
    if (!layers) return {};
    const made = get("_menus").sources[get("source")];
    const here = layers[Math.min(Math.max(get("layer"), 0), layers.length - 1)];
    const single = here.heads < 2 ? "the layer has a single head" : "";
    return {
      layers: layers.length < 2 ? "the model has a single layer" : "",
      heads: made.noHead || single,
      aggregations: made.noAggregation || single,
    };
  };

  // leaves the page alone if nothing changed: else the browser would lay it out again with every move of a slider
  let updated = "";
  const update = () => {
    const busy = get("_busy") || !get("_shown").image;
    const kept = panels.update(get);
    const why = reasons();
    const next = JSON.stringify([busy, kept, why, get("panel_scale")]);
    if (next === updated) return;
    updated = next;
    pin.textContent = kept ? "In the comparison" : "Add to comparison";
    pin.disabled = kept || busy;
    for (const button of presets.querySelectorAll("button")) {
      button.disabled = busy || Boolean(why[button.preset.name]);
      button.title = why[button.preset.name] || button.preset.words;
    }
    scale.choose(get("panel_scale"));
  };

  let newest = 0;
  let drawn = 0;
  return {
    node,
    fill(menus) {
      scale.fill(entries(menus.panelScales));
      updated = "";
      presets.replaceChildren(
        element("span", { class: "va-faint" }, "or"),
        ...menus.presets.map((preset) => {
          const button = element("button", { type: "button", onclick: () => send({ kind: "compare", preset: preset.name }) }, preset.title);
          button.preset = preset;
          return button;
        }),
      );
    },
    update,
    follow: follower.follow,
    moved: follower.moved,
    async draw() {
      const row = { panels: [], ...get("_row") };
      const turn = (newest += 1);
      const pictures = [...row.panels, row.difference].filter((one) => one?.image);
      const bitmaps = await Promise.all(pictures.map(({ image, mime }) => createImageBitmap(blobOf(image, mime))));
      if (turn > drawn) {
        drawn = turn;
        panels.draw(row, bitmaps);
        difference.draw(row, bitmaps[row.panels.length]);
        show(row);
      }
      for (const bitmap of bitmaps) bitmap.close();
    },
    forget: follower.stop,
  };
}

// Asks for the row if it is visible and outdated, once no control has moved for a moment, so that it never delays the main
// picture; while a slider keeps moving, also now and then.
function followerOf({ get, send }, node) {
  const [quiet, patience] = [150, 800]; // milliseconds
  let visible = false;
  let timer = null;
  let since = 0;
  let asked = 0;
  const ask = () => {
    timer = null;
    asked = get("_row_wanted");
    send({ kind: "row" });
  };
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(ask, Math.max(0, Math.min(quiet, since + patience - performance.now())));
  };
  const follow = () => {
    if (!visible || get("_row_wanted") <= Math.max(asked, get("_row").version ?? 0)) return;
    if (timer === null) since = performance.now();
    wait();
  };
  const observer = new IntersectionObserver((seen) => {
    visible = seen[seen.length - 1].isIntersecting;
    follow();
  });
  observer.observe(node);
  return {
    follow,
    moved() {
      if (timer !== null) wait();
    },
    stop() {
      observer.disconnect();
      clearTimeout(timer);
    },
  };
}

function paint(canvas, bitmap) {
  if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
  if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
}

// the panels: a click sets the controls to one; arrow keys go through them, with Shift they move one, Delete removes it
function panelsOf(putBack, keep) {
  const list = element("ol", { class: "va-panels" });
  let views = [];
  let dragged = null;

  const move = (from, to) => {
    if (to < 0 || to >= views.length || from === to) return;
    const next = views.filter((_, index) => index !== from);
    next.splice(to, 0, views[from]);
    keep(next);
    list.children[to].querySelector("button").focus();
  };
  const remove = (index) => {
    keep(views.filter((_, other) => other !== index));
    (list.children[index + 1] ?? list.children[index - 1])?.querySelector("button").focus();
  };
  const pressed = (event, index) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step && event.key !== "Delete" && event.key !== "Backspace") return;
    event.preventDefault();
    event.stopPropagation();
    if (!step) remove(index);
    else if (event.shiftKey) move(index, index + step);
    else list.children[index + step]?.querySelector("button").focus();
  };
  const panelOf = (index) => {
    const title = element("span", { class: "va-panel-title" });
    const canvas = element("canvas", { "aria-hidden": "true" });
    const show = element(
      "button",
      { type: "button", class: "va-panel-show", onclick: () => putBack(views[index]), onkeydown: (event) => pressed(event, index) },
      title,
      canvas,
    );
    const away = element("button", { type: "button", class: "va-panel-remove", onclick: () => remove(index) }, "×");
    const node = element("li", {
      draggable: "true",
      ondragstart: () => (dragged = index),
      ondragend: () => (dragged = null),
      ondragover: (event) => dragged !== null && event.preventDefault(),
      ondrop: (event) => {
        event.preventDefault();
        if (dragged !== null) move(dragged, index);
      },
    });
    node.append(show, away);
    return Object.assign(node, { words: title, canvas, show, away });
  };

  return {
    node: list,
    draw(row, bitmaps) {
      views = row.panels.map(({ panel }) => panel);
      list.closest(".va-row").style.setProperty("--va-count", views.length);
      while (list.children.length > views.length) list.lastChild.remove();
      while (list.children.length < views.length) list.append(panelOf(list.children.length));
      row.panels.forEach(({ title, caption }, index) => {
        const node = list.children[index];
        const words = title || "this view";
        node.words.replaceChildren(element("small", {}, views.length > 1 ? `${index + 1} ` : ""), words);
        const keys = "Click: set the controls to this view. Drag, or Shift and an arrow key: move it. Delete: remove it.";
        node.show.title = `${caption}\n${keys}`;
        node.show.setAttribute("aria-label", `Panel ${index + 1} of ${views.length}: ${words}. Set the controls to it`);
        node.away.setAttribute("aria-label", `Remove panel ${index + 1}: ${words}`);
        node.away.title = "Remove";
        paint(node.canvas, bitmaps[index]);
      });
    },
    // marks the panel that the controls show; returns whether there is one
    update(get) {
      let found = false;
      views.forEach((view, index) => {
        const here = Object.entries(view).every(([name, value]) => JSON.stringify(get(name)) === JSON.stringify(value));
        const { show } = list.children[index];
        if (show.getAttribute("aria-current") !== String(here)) show.setAttribute("aria-current", here);
        found ||= here;
      });
      return found;
    },
  };
}

// the difference of two panels, with its own colour bar
function differenceOf(choose) {
  const title = element("span", { class: "va-panel-title" });
  const canvas = element("canvas", { role: "img" });
  const legend = legendOf();
  const caption = element("small", {});
  const node = element("figure", { class: "va-difference" }, title, canvas, legend.node);
  let count = 0;
  let pair = ["", ""];

  const chosen = (place, value) => {
    const next = [...pair];
    next[place] = value;
    if (value !== "" && next[1 - place] === value) next[1 - place] = pair[place]; // swaps the two
    pair = next;
    fill();
    if (pair.includes("")) choose([]);
    else choose(pair.map(Number));
  };
  const first = selectOf("First panel of the difference", [], (value) => chosen(0, value));
  const second = selectOf("Second panel of the difference", [], (value) => chosen(1, value));
  const fill = () => {
    first.node.value = pair[0];
    second.node.value = pair[1];
  };

  return {
    node,
    choice: element(
      "div",
      { class: "va-line va-pair" },
      element("span", { class: "va-label" }, "Difference"),
      first.node,
      "minus",
      second.node,
      caption,
    ),
    draw(row, bitmap) {
      const { panels, difference = {} } = row;
      count = panels.length;
      const none = count === 2 ? [] : [{ value: "", label: "none" }];
      const options = [...none, ...panels.map((panel, index) => ({ value: String(index), label: `${index + 1}  ${panel.title}` }))];
      first.fill(options);
      second.fill(options);
      const shown = row.pair ?? [];
      // a half-made choice stays as it is
      if (shown.length || !pair.includes("") || count < 2) pair = shown.length ? shown.map(String) : ["", ""];
      fill();
      this.choice.classList.toggle("va-absent", count < 2);
      this.choice.classList.toggle("va-beside-it", count > 4); // the difference is then below the panels
      node.hidden = !bitmap;
      title.textContent = difference.title ?? "";
      caption.textContent = difference.caption ?? difference.reason ?? "";
      if (!bitmap) return;
      paint(canvas, bitmap);
      canvas.setAttribute("aria-label", difference.caption);
      legend.draw(difference);
    },
  };
}
