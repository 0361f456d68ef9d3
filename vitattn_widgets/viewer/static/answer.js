// The model's predictions for the photo.

function answerOf() {
  const list = element("ol", { class: "va-predictions" });
  return {
    node: element("section", { class: "va-answer" }, element("h3", {}, "The model's answer"), list),
    draw(top) {
      list.replaceChildren(
        ...top.map(({ name, probability }) => {
          const filled = element("i");
          filled.style.width = `${100 * probability}%`;
          return element(
            "li",
            {},
            element("span", { class: "va-class", title: name }, name),
            element("span", { class: "va-track" }, filled),
            element("span", { class: "va-percent" }, `${(100 * probability).toFixed(1)}%`),
          );
        }),
      );
      if (!top.length) list.replaceChildren(element("li", { class: "va-none" }, "This model has no classifier."));
    },
  };
}
