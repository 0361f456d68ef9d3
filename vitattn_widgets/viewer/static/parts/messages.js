// @ts-check
// Messages on the picture: progress at its upper edge, notes and errors at its lower one.

import { button, element, icon, setText } from "./dom.js";

/** @typedef {import("./types.js").Message} Message */

const PATIENCE_MS = 160; // progress shorter than this is not worth a flicker

export function messagesOf() {
  const progressWords = element("span", {});
  const progress = element("div", { class: "va-progress", role: "status", hidden: true }, element("i"), progressWords);
  const notes = element("div", { class: "va-notes", role: "status", "aria-live": "polite" });
  /** @type {Set<Message>} */
  const running = new Set();

  const showProgress = () => {
    const newest = [...running].at(-1);
    progress.hidden = !newest;
    setText(progressWords, newest?.text ?? "");
  };

  /** @param {Message} message */
  const say = (message) => {
    if (message.kind === "progress") {
      const waiting = setTimeout(() => {
        running.add(message);
        showProgress();
      }, PATIENCE_MS);
      return () => {
        clearTimeout(waiting);
        running.delete(message);
        showProgress();
      };
    }
    const close = () => note.remove();
    const { action } = message;
    const note = element(
      "div",
      { class: `va-note va-note-${message.kind}` },
      ...(message.kind === "error" ? [icon("warn")] : []),
      element("span", {}, message.text),
      ...(action
        ? [
            button({
              text: action.text,
              class: "va-note-act",
              onclick: () => {
                close();
                action.act();
              },
            }),
          ]
        : []),
      button({ icon: "close", label: "Close this message", class: "va-plain", onclick: close }),
    );
    notes.replaceChildren(note);
    if (message.lasts) setTimeout(close, message.lasts);
    return close;
  };

  return { progress, notes, say };
}
