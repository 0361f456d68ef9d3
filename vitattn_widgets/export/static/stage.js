// The picture: the photo, the heat map blended over it, and the patch whose value is read.

function stageOf(root, facts) {
  const stage = root.querySelector(".va-stage");
  const reading = root.querySelector(".va-reading");
  const [width, height] = facts.size;
  const view = { grid: facts.grid, size: facts.size, boxes: [facts.box] };
  const canvas = element("canvas", { width, height, "aria-hidden": "true" });
  const marks = element("div", { class: "va-marks", "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  const [x, y, across, down] = facts.region;
  const heat = new OffscreenCanvas(across, down);
  const heatPen = heat.getContext("2d");
  const pixels = new ImageData(across, down);
  const words = new Uint32Array(pixels.data.buffer);
  const table = new Uint32Array(256);
  let shown = null;
  let read = null;

  for (let code = 0; code < 256; code += 1) {
    new Uint8Array(table.buffer).set([...facts.colors.subarray(3 * code, 3 * code + 3), 255], 4 * code);
  }

  const drawMarks = () => {
    const wanted = [];
    if (shown.query) wanted.push(["va-query", patchRectangle(shown.query, facts.box, view)]);
    if (read) wanted.push(["va-hover", patchRectangle(read, facts.box, view)]);
    marks.replaceChildren(
      ...wanted.map(([name, place]) => {
        const mark = element("i", { class: name });
        Object.assign(mark.style, place);
        return mark;
      }),
    );
  };

  const updateReading = () => {
    if (!shown.values) reading.textContent = "The raw values of the patches did not fit into this page.";
    else if (!read) reading.textContent = "Hover over or tap a patch for its raw value; arrow keys move from patch to patch.";
    else {
      const value = number(Number(shown.values[read[0] * facts.grid[1] + read[1]].toPrecision(facts.valueDigits)));
      reading.textContent = `Patch row ${read[0]}, col ${read[1]}: ${value} (${shown.unit})`;
    }
    reading.title = reading.textContent;
  };

  const move = (patch) => {
    if (JSON.stringify(patch) === JSON.stringify(read)) return;
    read = patch;
    if (!shown) return;
    drawMarks();
    updateReading();
  };

  const patchAt = (event) => patchUnder(event, canvas, view);

  stage.addEventListener("pointermove", (event) => move(patchAt(event)));
  stage.addEventListener("pointerdown", (event) => move(patchAt(event)));
  stage.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && move(null));
  stage.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return move(null);
    if (!(event.key in ARROWS)) return;
    event.preventDefault();
    move(nextPatch(read, event.key, facts.grid));
  });
  stage.append(canvas, marks);
  reading.setAttribute("aria-live", "polite");

  return {
    canvas,
    // { codes, values, unit, query, caption, marks }
    show(next) {
      shown = next;
      for (let at = 0; at < words.length; at += 1) words[at] = table[next.codes[at]];
      heatPen.putImageData(pixels, 0, 0);
      stage.setAttribute("aria-label", `${next.caption}. Arrow keys read the value of a patch, Escape stops reading.`);
      drawMarks();
      updateReading();
    },
    blend(photo, opacity, alone) {
      pen.globalAlpha = 1;
      pen.drawImage(photo, 0, 0, width, height);
      stage.classList.toggle("va-alone", alone);
      if (alone) return;
      pen.globalAlpha = opacity;
      pen.drawImage(heat, x, y);
      pen.globalAlpha = 1;
      if (shown.marks) pen.drawImage(shown.marks, 0, 0);
    },
  };
}
