// The head of the page: the photos, an upload box, and the model.

const UPLOAD_PART = 1 << 20; // bytes; notebook servers refuse messages larger than about 10 MB

function photosOf({ get, set, send }) {
  const thumbnails = element("div", { class: "va-thumbnails", role: "group", "aria-label": "Pictures" });
  const input = element("input", { type: "file", accept: "image/*", multiple: true, class: "va-hidden", "aria-label": "Upload pictures" });
  input.addEventListener("change", async () => {
    for (const file of input.files) await upload(send, file);
    input.value = "";
  });
  const place = element(
    "label",
    { class: "va-upload", title: "Upload one or more pictures" },
    input,
    element("b", { "aria-hidden": "true" }, "+"),
    element("span", {}, "upload"),
  );
  const models = selectOf("Model", [], (value) => set("model", value));
  const facts = element("small", { class: "va-facts" });
  const forget = () => {
    for (const image of thumbnails.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  };
  const buttonOf = ({ name, thumbnail }) => {
    const shown = thumbnail.byteLength
      ? element("img", { src: URL.createObjectURL(blobOf(thumbnail, "image/jpeg")), alt: "" })
      : element("span", { class: "va-broken", "aria-hidden": "true" }, "?");
    const button = element("button", { type: "button", title: name, onclick: () => set("picture", name) }, shown, element("span", {}, name));
    button.picture = name;
    return button;
  };

  return {
    node: element(
      "header",
      {},
      element("div", { class: "va-strip" }, thumbnails, place),
      element("label", { class: "va-model" }, element("span", { class: "va-label" }, "Model"), models.node, facts),
    ),
    fill(menus) {
      models.fill(entries(menus.models));
      models.node.disabled = menus.models.length < 2;
      const names = JSON.stringify(menus.pictures.map(({ name }) => name));
      if (names === thumbnails.dataset.names) return;
      thumbnails.dataset.names = names;
      forget();
      thumbnails.replaceChildren(...menus.pictures.map(buttonOf));
    },
    update() {
      models.node.value = get("model");
      for (const button of thumbnails.children) button.setAttribute("aria-pressed", button.picture === get("picture"));
      const known = get("_facts").model;
      if (known) facts.textContent = known.slice(known.indexOf(": ") + 2);
    },
    forget,
  };
}

async function upload(send, file) {
  const id = `${Date.now()}-${Math.random()}`;
  const bytes = await file.arrayBuffer();
  for (let start = 0; start === 0 || start < bytes.byteLength; start += UPLOAD_PART) {
    const part = bytes.slice(start, start + UPLOAD_PART);
    const last = start + UPLOAD_PART >= bytes.byteLength;
    send({ kind: "upload", id, name: file.name, last }, [part]);
  }
}
