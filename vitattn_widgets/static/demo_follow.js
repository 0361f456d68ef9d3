// Carries out what the server answers (demo_updates.py): new values, and menus where they differ from the last ones.
(updates) => {
  const menus = (window.vitattnMenus ??= {});
  return Object.entries(updates).map(([name, { menu = {}, ...value }]) => {
    const known = menus[name] === JSON.stringify(menu);
    menus[name] = JSON.stringify(menu);
    return { __type__: "update", ...(known ? {} : menu), ...value };
  });
}
