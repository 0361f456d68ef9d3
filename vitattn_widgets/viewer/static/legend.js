// A colour bar with its numbers and their unit.

function legendOf() {
  const bar = element("canvas", { class: "va-bar", width: 256, height: 1, "aria-hidden": "true" });
  const [low, middle, high] = [element("span"), element("span"), element("span")];
  const words = element("div", { class: "va-unit" });
  return {
    node: element("div", { class: "va-legend" }, bar, element("div", { class: "va-ticks" }, low, middle, high), words),
    draw({ range, unit, colors }) {
      const [from, to] = range;
      low.textContent = tick(from, range);
      middle.textContent = tick((from + to) / 2, range);
      high.textContent = tick(to, range);
      words.textContent = unit;
      const table = new Uint8Array(colors.buffer, colors.byteOffset, 768);
      const pixels = new ImageData(256, 1);
      for (let step = 0; step < 256; step += 1) pixels.data.set([...table.subarray(3 * step, 3 * step + 3), 255], 4 * step);
      bar.getContext("2d").putImageData(pixels, 0, 0);
    },
  };
}
