// Applies the updates of updates.py: new values, and menus that differ from the last ones.
(updates) => {
  const menus = (window.vitattnMenus ??= {});
  return Object.entries(updates).map(([name, { menu, classes, ...value }]) => {
    if (menu === undefined) return { __type__: "update", ...value };
    if (classes) window.vitattnClasses = classes.map((label, index) => [label, String(index)]);
    const known = !classes && menus[name] === JSON.stringify(menu);
    menus[name] = JSON.stringify(menu);
    if (known) return { __type__: "update", ...value };
    if (name !== "target") return { __type__: "update", ...menu, ...value };
    const first = new Set(menu.choices.map(([, number]) => number));
    const others = window.vitattnClasses.filter(([, number]) => !first.has(number));
    return { __type__: "update", ...menu, choices: [...menu.choices, ...others], ...value };
  });
}
