// The picture: the photo, a heat map blended over it, and the patch that is read.

function stageOf(root, facts) {
  const stage = root.querySelector(".va-stage");
  const reading = root.querySelector(".va-reading");
  const [width, height] = facts.size;
  const [left, top, right, bottom] = facts.box;
  const [rows, cols] = facts.grid;
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

  const rectangle = ([row, col]) => ({
    left: `${(100 * (left + (col * (right - left)) / cols)) / width}%`,
    top: `${(100 * (top + (row * (bottom - top)) / rows)) / height}%`,
    width: `${(100 * (right - left)) / cols / width}%`,
    height: `${(100 * (bottom - top)) / rows / height}%`,
  });

  const drawMarks = () => {
    const wanted = [];
    if (shown.query) wanted.push(["va-query", rectangle(shown.query)]);
    if (read) wanted.push(["va-hover", rectangle(read)]);
    marks.replaceChildren(
      ...wanted.map(([name, place]) => {
        const mark = element("i", { class: name });
        Object.assign(mark.style, place);
        return mark;
      }),
    );
  };

  const say = () => {
    if (!shown.values) reading.textContent = "Raw values of patches were left out of this page for want of room.";
    else if (!read) reading.textContent = "Hover or tap a patch for its raw value; arrow keys move over patches.";
    else {
      const value = number(Number(shown.values[read[0] * cols + read[1]].toPrecision(facts.valueDigits)));
      reading.textContent = `Patch row ${read[0]}, col ${read[1]}: ${value} (${shown.unit})`;
    }
    reading.title = reading.textContent;
  };

  const move = (patch) => {
    if (JSON.stringify(patch) === JSON.stringify(read)) return;
    read = patch;
    if (!shown) return;
    drawMarks();
    say();
  };

  const patchAt = (event) => {
    const bounds = canvas.getBoundingClientRect();
    const atX = ((event.clientX - bounds.left) / bounds.width) * width;
    const atY = ((event.clientY - bounds.top) / bounds.height) * height;
    const row = Math.floor(((atY - top) / (bottom - top)) * rows);
    const col = Math.floor(((atX - left) / (right - left)) * cols);
    return row >= 0 && col >= 0 && row < rows && col < cols ? [row, col] : null;
  };

  stage.addEventListener("pointermove", (event) => move(patchAt(event)));
  stage.addEventListener("pointerdown", (event) => move(patchAt(event)));
  stage.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && move(null));
  stage.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key === "Escape") return move(null);
    if (!(event.key in steps)) return;
    event.preventDefault();
    if (!read) return move([rows >> 1, cols >> 1]);
    const [rowStep, colStep] = steps[event.key];
    move([Math.min(Math.max(read[0] + rowStep, 0), rows - 1), Math.min(Math.max(read[1] + colStep, 0), cols - 1)]);
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
      say();
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
