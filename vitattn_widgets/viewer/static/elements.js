// Page elements, and numbers formatted for reading.

const PRECISION = 3;
const FOCUSABLE = new Set(["button", "input", "select", "summary"]);

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  // JupyterLab's shortcuts would otherwise take the arrow keys from focused sliders, menus and the picture
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

// a value of a colour bar; next to its range, a value below a millionth is rounding error
function tick(value, [low, high]) {
  return number(Math.abs(value) < 1e-6 * (high - low) ? 0 : value);
}

function save(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = element("a", { href: url, download: name, class: "va-hidden" });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
