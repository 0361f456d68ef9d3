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
