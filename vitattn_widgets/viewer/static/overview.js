// All layers and heads at a glance; each cell is a button that goes there.

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
      element("small", {}, "plain attention; one column per layer, one row per head; each map on its own scale"),
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
