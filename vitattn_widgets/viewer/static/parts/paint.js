// @ts-check
// Photos and map layers on canvases: for the screen, for small pictures of panels, and for files.

/** @typedef {import("./types.js").Capsule} Capsule */
/** @typedef {{photo: ImageBitmap, view: ImageBitmap}} Photo   the photo, and the pixels that the model saw */
/** @typedef {{left: number, top: number, width: number, height: number}} Place   in shares of the ground, 0..1 */

/** @type {WeakMap<Capsule, Promise<Photo>>} */
const photos = new WeakMap();

/**
 * The decoded photo of a capsule, once.
 * @param {Capsule} capsule
 * @returns {Promise<Photo>}
 */
export function photoOf(capsule) {
  let photo = photos.get(capsule);
  if (!photo) {
    photo = decodePhoto(capsule);
    photos.set(capsule, photo);
  }
  return photo;
}

/** @param {Capsule} capsule */
async function decodePhoto(capsule) {
  const { photo_type, view_type } = capsule.facts.picture;
  /**
   * @param {string} name
   * @param {string} type
   */
  const decode = (name, type) => createImageBitmap(new Blob([capsule.tensor(name).data], { type }));
  const [photo, view] = await Promise.all([decode("photo", photo_type), decode("view", view_type)]);
  return { photo, view };
}

/**
 * Width and height of what lies under a map: the model's view, or the whole photo.
 * @param {Capsule} capsule
 * @param {string} on
 * @returns {[number, number]}
 */
export function groundSize(capsule, on) {
  const { view_size, photo_size } = capsule.facts.picture;
  return on === "view" ? view_size : photo_size;
}

/**
 * Where the model's view lies on the ground.
 * @param {Capsule} capsule
 * @param {string} on
 * @returns {Place}
 */
export function viewPlace(capsule, on) {
  if (on === "view") return { left: 0, top: 0, width: 1, height: 1 };
  const { photo_size, crop_box } = capsule.facts.picture;
  const [width, height] = photo_size;
  const [left, top, right, bottom] = crop_box;
  return { left: left / width, top: top / height, width: (right - left) / width, height: (bottom - top) / height };
}

/**
 * The place of a layer's patches on the ground: the view's, or more where the last patches exceed it.
 * @param {Capsule} capsule
 * @param {number} layer   from 0 on
 * @param {string} on
 */
export function gridPlace(capsule, layer, on) {
  const { left, top, width, height } = viewPlace(capsule, on);
  const [wide, high] = capsule.facts.picture.view_size;
  const [down, across] = capsule.facts.layers[layer].covered;
  return { left, top, width: (width * across) / wide, height: (height * down) / high };
}

/**
 * Paint the ground over a whole canvas. The photo is sharper than the model's view of it, so it is used wherever it
 * holds all of that view.
 * @param {CanvasRenderingContext2D} context
 * @param {Capsule} capsule
 * @param {Photo} photo   from `photoOf`
 * @param {string} on
 */
export function paintGround(context, capsule, photo, on) {
  const { width, height } = context.canvas;
  const [photoWidth, photoHeight] = capsule.facts.picture.photo_size;
  const [left, top, right, bottom] = capsule.facts.picture.crop_box;
  const inside = left >= -0.5 && top >= -0.5 && right <= photoWidth + 0.5 && bottom <= photoHeight + 0.5;
  context.imageSmoothingQuality = "high";
  if (on !== "view") context.drawImage(photo.photo, 0, 0, width, height);
  else if (inside) context.drawImage(photo.photo, left, top, right - left, bottom - top, 0, 0, width, height);
  else context.drawImage(photo.view, 0, 0, width, height);
}

/**
 * Turn a part of a canvas into light greys, on which all colour is that of values with signs.
 * @param {CanvasRenderingContext2D} context
 * @param {[number, number, number, number]} place   left, top, width and height in pixels
 */
export function paintGrey(context, place) {
  context.globalCompositeOperation = "saturation";
  context.fillStyle = "#808080";
  context.fillRect(...place);
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "rgb(225 225 225 / 40%)"; // 0.6 of the grey, and 90
  context.fillRect(...place);
}

/**
 * Turn the model's view in a painted ground into light greys.
 * @param {CanvasRenderingContext2D} context
 * @param {Capsule} capsule
 * @param {string} on
 */
export function paintGreyView(context, capsule, on) {
  const { left, top, width, height } = viewPlace(capsule, on);
  const { canvas } = context;
  paintGrey(context, [left * canvas.width, top * canvas.height, width * canvas.width, height * canvas.height]);
}

/**
 * Put a map layer into a canvas of the view's size.
 * @param {HTMLCanvasElement} canvas
 * @param {{colors: Uint8ClampedArray, width: number, height: number}} layer   RGBA pixels
 */
export function putLayer(canvas, { colors, width, height }) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pixels = new ImageData(/** @type {Uint8ClampedArray<ArrayBuffer>} */ (colors), width, height);
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
}

/**
 * Paint ground and map into one canvas, as the screen shows them.
 * @param {HTMLCanvasElement} canvas   keeps its size
 * @param {Capsule} capsule
 * @param {Photo} photo   from `photoOf`
 * @param {string} on
 * @param {{colors: Uint8ClampedArray, width: number, height: number, signed: boolean} | null} layer   null for the bare photo
 */
export function paintPicture(canvas, capsule, photo, on, layer) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.clearRect(0, 0, canvas.width, canvas.height);
  paintGround(context, capsule, photo, on);
  if (!layer) return;
  if (layer.signed) paintGreyView(context, capsule, on);
  const sheet = document.createElement("canvas");
  putLayer(sheet, layer);
  const { left, top, width, height } = viewPlace(capsule, on);
  context.drawImage(sheet, left * canvas.width, top * canvas.height, width * canvas.width, height * canvas.height);
}
