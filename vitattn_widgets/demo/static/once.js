
// A picture that is pasted anywhere on the page is brought like an upload; this needs no HTTPS, as reading the clipboard
// from a button does.
document.addEventListener("paste", async (event) => {
  const picture = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  if (!picture) return;
  event.preventDefault();
  try {
    const { path } = await upload(picture);
    choose({ upload: { path, orig_name: picture.name } });
  } catch {
    choose({ upload: null }); // the server has the words for it
  }
});

// What stands in the class picker gives way to what is typed.
document.addEventListener("focusin", ({ target }) => {
  if (target.matches("#va-target input")) target.select();
});
