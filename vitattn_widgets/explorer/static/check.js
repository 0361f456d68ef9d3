// Is this map worth anything? A button, and the sentences and curves of the answer.

function checkOf({ get, send }) {
  const button = element(
    "button",
    {
      type: "button",
      title: "Removes what the map marks, shuffles the model's last weights, silences heads; takes a few seconds",
      onclick: () => send({ kind: "check" }),
    },
    "Is this map worth anything?",
  );
  const found = element("section", { class: "va-checked", "aria-live": "polite" });
  const forget = () => {
    for (const image of found.querySelectorAll("img")) URL.revokeObjectURL(image.src);
  };
  return {
    button,
    found,
    forget,
    draw() {
      const { sentences, image } = get("_check");
      forget();
      found.replaceChildren();
      if (!sentences) return;
      found.append(
        element("ul", {}, ...sentences.map((sentence) => element("li", {}, sentence))),
        element("img", {
          src: URL.createObjectURL(blobOf(image, "image/png")),
          alt: "Curves of the class's probability as patches are removed and restored, in four orders",
        }),
      );
    },
    update() {
      button.disabled = get("_busy") || !get("_shown").image || !get("_classes").length;
    },
  };
}
