// A front end for tests that can do all that a front end may: two models, uploads, checks, files, links.

import { mount } from "../../vitattn_widgets/viewer/static/viewer.js";

const root = document.createElement("div");
document.querySelector("main").append(root);

const params = new URLSearchParams(location.search);
const names = ["chelsea.jpg", "coffee.jpg", "broken.jpg"];
const drawersLab = { asked: [], uploaded: [], checked: [], files: [], listener: () => {}, heard: () => {}, facts: null };
globalThis.lab = drawersLab;

const bytesOf = async (address, body) => {
  const answer = await fetch(address, body && { method: "POST", body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.arrayBuffer();
};

// the first model's photos come first, then the second one's
const numberOf = (model, picture) => (model === "deep" ? 0 : 2) + (names.includes(picture) ? names.indexOf(picture) : 1);

const library = {
  models: ["deep", "flat"],
  pictures: names.map((name) => ({
    name,
    thumbnail: "",
    reason: name === "broken.jpg" ? "broken.jpg: <b>not</b> an image" : "",
    credit: name === "coffee.jpg" ? "Photo: somebody, CC0" : "",
  })),
  note: "",
};

const drawersHost = {
  read: () => ({ model: "deep", picture: "chelsea.jpg" }),
  write: () => {},
  subscribe(listener) {
    drawersLab.listener = listener;
    return () => {};
  },
  library: () => library,
  onLibrary(listener) {
    drawersLab.heard = listener;
    return () => {};
  },
  capsule: (model, picture) => bytesOf(`/capsule/${numberOf(model, picture)}`),
  more(model, picture, request) {
    drawersLab.asked.push(request);
    return bytesOf(`/answer/${numberOf(model, picture)}`, request);
  },
  async upload(file) {
    if (!file.size) throw new Error(`${file.name}: an empty file`);
    drawersLab.uploaded.push(file.name);
    const picture = { name: file.name, thumbnail: "", reason: "", credit: "" };
    Object.assign(library, { pictures: [...library.pictures, picture] });
    drawersLab.heard();
    return file.name;
  },
  async check(model, picture, settings) {
    drawersLab.checked.push({ model, picture, ...settings });
    return drawersLab.facts;
  },
  async file(what, state) {
    drawersLab.files.push({ what, layer: state.layer });
    return { name: `${what}.txt`, mime: "text/plain", content: new TextEncoder().encode(what).buffer };
  },
  link: (state) => `https://viewer.test/?layer=${state.layer}`,
  without: "not in a test",
};
for (const name of (params.get("without") ?? "").split(",")) delete drawersHost[name];

drawersLab.viewer = mount(root, drawersHost);
