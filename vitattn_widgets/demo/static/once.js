
// A picture pasted anywhere on the page is uploaded. Unlike reading the clipboard from a button, this needs no HTTPS.
document.addEventListener("paste", async (event) => {
  const picture = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
  if (!picture) return;
  event.preventDefault();
  try {
    const { path } = await upload(picture);
    choose({ upload: { path, orig_name: picture.name } });
  } catch {
    choose({ upload: null }); // the server answers with the message
  }
});

// Typing replaces the current text of the class menu.
document.addEventListener("focusin", ({ target }) => {
  if (target.matches("#va-target input")) target.select();
});
