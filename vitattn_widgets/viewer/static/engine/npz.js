// @ts-check
// Arrays as an NPZ file, which `numpy.load` reads: a ZIP file of NPY files, uncompressed.

/** @typedef {{type: "<f4" | "<f8", shape: number[], data: Float32Array | Float64Array} | string} NpzValue   an array or a text */

const VERSION = 20; // of ZIP
const FIRST_DAY = 0x21; // 1 January 1980, the first that ZIP knows: equal input, equal bytes

/**
 * @param {Record<string, NpzValue>} values by name
 * @returns {Uint8Array<ArrayBuffer>} the file
 */
export function npzFile(values) {
  /** @type {Uint8Array[]} */
  const local = [];
  /** @type {Uint8Array[]} */
  const directory = [];
  let offset = 0;
  for (const [name, value] of Object.entries(values)) {
    const content = npyFile(value);
    const path = new TextEncoder().encode(`${name}.npy`);
    const facts = [
      VERSION,
      0,
      0,
      0,
      FIRST_DAY,
      ...halves(crc32(content)),
      ...halves(content.length),
      ...halves(content.length),
      path.length,
      0,
    ];
    const entry = [words16(0x4b50, 0x0403, ...facts), path, content];
    directory.push(words16(0x4b50, 0x0201, VERSION, ...facts, 0, 0, 0, 0, 0, ...halves(offset)), path);
    local.push(...entry);
    offset += byteCount(entry);
  }
  const count = local.length / 3;
  const end = words16(0x4b50, 0x0605, 0, 0, count, count, ...halves(byteCount(directory)), ...halves(offset), 0);
  return joinBytes([...local, ...directory, end]);
}

/**
 * @param {NpzValue} value
 * @returns {Uint8Array} an NPY file of version 1.0
 */
function npyFile(value) {
  const array = typeof value === "string" ? textArray(value) : value;
  const shape = array.shape.length === 1 ? `(${array.shape[0]},)` : `(${array.shape.join(", ")})`;
  const facts = `{'descr': '${array.type}', 'fortran_order': False, 'shape': ${shape}, }`;
  const start = 10; // bytes before the facts, which end at a multiple of 64
  const length = Math.ceil((start + facts.length + 1) / 64) * 64 - start;
  const header = `\x93NUMPY\x01\x00${String.fromCharCode(length & 255, length >> 8)}${facts.padEnd(length - 1)}\n`;
  const { buffer, byteOffset, byteLength } = array.data;
  return joinBytes([
    Uint8Array.from(header, (letter) => letter.charCodeAt(0)),
    new Uint8Array(buffer, byteOffset, byteLength),
  ]);
}

/** @param {string} text @returns {{type: string, shape: number[], data: Uint32Array}} one string, as NumPy holds it */
function textArray(text) {
  const points = Uint32Array.from([...text], (letter) => letter.codePointAt(0) ?? 0);
  return { type: `<U${Math.max(1, points.length)}`, shape: [], data: points.length ? points : new Uint32Array(1) };
}

/** @param {number} value @returns {[number, number]} its two 16-bit words, the lower one first */
function halves(value) {
  return [value & 0xffff, value >>> 16];
}

/** @param {...number} values 16 bits each @returns {Uint8Array} */
function words16(...values) {
  return new Uint8Array(Uint16Array.from(values).buffer);
}

/** @param {Uint8Array[]} parts */
function byteCount(parts) {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

/** @param {Uint8Array[]} parts @returns {Uint8Array<ArrayBuffer>} */
function joinBytes(parts) {
  const whole = new Uint8Array(byteCount(parts));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @param {Uint8Array} bytes @returns {number} the checksum of ZIP */
function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}
