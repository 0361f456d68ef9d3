// A front end for tests: two photos of one model, answers from the test, and a record of all that the viewer asks.

import { mount } from "../../vitattn_widgets/viewer/static/viewer.js";

const root = document.createElement("div");
document.querySelector("main").append(root);

const lab = {
  written: [],
  asked: [],
  shownKeys: [], // key presses that reached the page around the viewer
  failing: "", // the message of every answer from now on
  delays: [], // milliseconds that the next answers take
  listener: () => {},
};
globalThis.lab = lab;

const bytes = async (address, body) => {
  const delay = lab.delays.shift() ?? 0;
  if (lab.failing) throw new Error(lab.failing);
  const answer = await fetch(address, body && { method: "POST", body: JSON.stringify(body) });
  await new Promise((resolve) => setTimeout(resolve, delay));
  return answer.arrayBuffer();
};

const host = {
  read: () => ({ model: "model", picture: "0" }),
  write: (changes) => lab.written.push(changes),
  subscribe(listener) {
    lab.listener = listener;
    return () => {};
  },
  library: () => ({
    models: ["model"],
    pictures: ["0", "1"].map((name) => ({ name, thumbnail: "", reason: "", credit: "" })),
    note: "",
  }),
  onLibrary: () => () => {},
  capsule: (_, picture) => bytes(`/capsule/${picture}`),
  more(_, picture, request) {
    lab.asked.push(request);
    return bytes(`/answer/${picture}`, request);
  },
  without: "not in a test",
};

document.addEventListener("keydown", (event) => lab.shownKeys.push(event.key));
lab.viewer = mount(root, host);
lab.root = root;
