// The picture, its query and the patch under the pointer.

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

  const drawMarks = () => {
    const wanted = [];
    for (const box of shown.boxes) {
      if (shown.query) wanted.push(["va-query", patchRectangle(shown.query, box, shown)]);
      if (hovered) wanted.push(["va-hover", patchRectangle(hovered, box, shown)]);
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
      reading.textContent = "Hover over a patch for its value; click it to make it the query.";
      return;
    }
    const [row, col] = patch;
    const value = number(values.getFloat32(4 * (row * shown.grid[1] + col), true));
    reading.textContent = `${hovered ? "Patch" : "Query: patch"} row ${row}, col ${col}: ${value}`;
  };

  const patchAt = (event) => (shown ? patchUnder(event, canvas, shown) : null);

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
    if (!shown || !(event.key in ARROWS || event.key === "Escape")) return;
    event.preventDefault();
    event.stopPropagation(); // else a classic notebook moves to another cell
    if (event.key === "Escape") return clearQuery();
    // from the chosen query, not the shown one, so that keys in quick succession add up
    const chosen = chosenQuery();
    choosePatch(nextPatch(chosen, event.key, shown.grid));
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
