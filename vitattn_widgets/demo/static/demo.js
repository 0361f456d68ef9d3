// Clicks on the picture, a head, a cell or a sample become one "select" event; the page's address follows the picture.

const choose = (chosen) => {
  window.vitattnChosen = chosen; // read when the event is sent, see CHOSEN in events.py
  trigger("select");
};

const patchAt = (frame, event) => {
  const { boxes, size, grid, values } = JSON.parse(frame.dataset.facts);
  const bounds = frame.querySelector("img").getBoundingClientRect();
  const x = ((event.clientX - bounds.left) / bounds.width) * size[0];
  const y = ((event.clientY - bounds.top) / bounds.height) * size[1];
  for (const [left, top, right, bottom] of boxes) {
    const row = Math.floor(((y - top) / (bottom - top)) * grid[0]);
    const col = Math.floor(((x - left) / (right - left)) * grid[1]);
    if (row >= 0 && col >= 0 && row < grid[0] && col < grid[1]) return { row, col, value: values[row * grid[1] + col] };
  }
  return null;
};

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-choose]");
  if (button) {
    choose(JSON.parse(button.dataset.choose));
    return;
  }
  const frame = event.target.closest(".va-frame");
  const patch = frame && patchAt(frame, event);
  if (patch) choose({ row: patch.row, col: patch.col });
});

element.addEventListener("pointermove", (event) => {
  const frame = event.target.closest(".va-frame");
  const patch = frame && patchAt(frame, event);
  const reading = element.querySelector(".va-reading");
  if (reading && patch) reading.textContent = `Patch row ${patch.row}, col ${patch.col}: ${patch.value}`;
});

watch("value", () => {
  const shown = element.querySelector(".va-shown");
  if (shown) history.replaceState(history.state, "", `?${shown.dataset.link}`);
});
