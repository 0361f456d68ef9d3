// A menu of the predicted classes, and a search that adds its matches; names and order come from the kernel.

const FOUND = 50; // most classes that a search lists

function classesOf(onchange) {
  const select = element("select", {
    "aria-label": "Class",
    onchange: () => onchange(select.value === "" ? null : Number(select.value)),
  });
  const search = element("input", { type: "search", placeholder: "search by name", "aria-label": "Search for a class by name" });
  const reason = element("small", { class: "va-reason" });
  const node = element(
    "fieldset",
    { class: "va-field va-classes" },
    element("legend", {}, "Class", reason),
    element("span", { class: "va-line" }, select, search),
  );
  let names = [];
  let order = [];
  let likely = [];
  let chosen = null;

  const option = (index, words = "") => element("option", { value: index }, `${names[index]}${words}`);
  const fill = () => {
    const text = search.value.trim().toLowerCase();
    const found = text ? names.map((_, index) => index).filter((index) => names[index].toLowerCase().includes(text)) : [];
    const groups = [element("option", { value: "" }, names.length ? `predicted: ${names[order[0]]}` : "none")];
    if (text) {
      const label = `${found.length} with “${search.value.trim()}”`;
      groups.push(element("optgroup", { label }, ...found.slice(0, FOUND).map((index) => option(index))));
    }
    const percent = (rank) => ` ${(100 * likely[rank]).toFixed(1)}%`;
    groups.push(element("optgroup", { label: "most probable" }, ...order.map((index, rank) => option(index, percent(rank)))));
    if (chosen !== null && !order.includes(chosen) && !found.slice(0, FOUND).includes(chosen)) groups.push(option(chosen));
    select.replaceChildren(...groups);
    select.value = chosen ?? "";
    return found;
  };
  search.addEventListener("input", fill);
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    const [first] = fill();
    if (first !== undefined) onchange(first);
  });

  return {
    node,
    know(classes, facts) {
      names = classes;
      order = facts.order;
      likely = facts.likely;
      search.value = "";
      fill();
    },
    choose(target) {
      if (target === chosen) return;
      chosen = target;
      fill();
    },
    disable(why) {
      node.disabled = Boolean(why);
      reason.textContent = why;
    },
  };
}
