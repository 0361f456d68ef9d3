// The foot of the page: downloads, and the code that makes the picture.

function keepOf({ send }) {
  const code = element("pre", { tabindex: "0", "aria-label": "Python code that makes this picture" });
  const copy = element("button", { type: "button", onclick: () => copyText(code, copy) }, "Copy");
  const download = (what, label, title) =>
    element("button", { type: "button", title, onclick: () => send({ kind: "download", what }) }, label);
  return {
    code,
    node: element(
      "footer",
      {},
      element(
        "div",
        { class: "va-line va-keep" },
        element("span", { class: "va-label" }, "Keep"),
        download("png", "PNG", "the picture"),
        download("npz", "NPZ", "the raw map, for numpy.load"),
        download("recipe", "Recipe", "JSON from which va.from_recipe rebuilds this picture"),
        download("page", "Page", "every layer and head as one HTML file that needs neither Python nor a network"),
      ),
      element("details", {}, element("summary", {}, "Show code"), element("div", { class: "va-code" }, code, copy)),
    ),
  };
}

async function copyText(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    // without permission to use the clipboard, the text is selected, ready for Ctrl-C
    getSelection().selectAllChildren(code);
    button.textContent = "Press Ctrl-C";
  }
  setTimeout(() => (button.textContent = "Copy"), 2000);
}
