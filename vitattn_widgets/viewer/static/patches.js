// Where patches are on a picture. A view has a grid [rows, cols], a size [width, height] and the boxes that show it.

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function patchRectangle([row, col], [left, top, right, bottom], { grid: [rows, cols], size: [width, height] }) {
  const [stepX, stepY] = [(right - left) / cols, (bottom - top) / rows];
  return {
    left: `${(100 * (left + col * stepX)) / width}%`,
    top: `${(100 * (top + row * stepY)) / height}%`,
    width: `${(100 * stepX) / width}%`,
    height: `${(100 * stepY) / height}%`,
  };
}

function patchUnder(event, canvas, { grid: [rows, cols], size: [width, height], boxes }) {
  const bounds = canvas.getBoundingClientRect();
  const x = ((event.clientX - bounds.left) / bounds.width) * width;
  const y = ((event.clientY - bounds.top) / bounds.height) * height;
  for (const [left, top, right, bottom] of boxes) {
    const row = Math.floor(((y - top) / (bottom - top)) * rows);
    const col = Math.floor(((x - left) / (right - left)) * cols);
    if (row >= 0 && col >= 0 && row < rows && col < cols) return [row, col];
  }
  return null;
}

// the patch that an arrow key moves to; the first press chooses the middle one
function nextPatch(patch, key, [rows, cols]) {
  if (!patch) return [rows >> 1, cols >> 1];
  const [down, right] = ARROWS[key];
  return [Math.min(Math.max(patch[0] + down, 0), rows - 1), Math.min(Math.max(patch[1] + right, 0), cols - 1)];
}
