// @ts-check
// Reads safetensors files: a length, a JSON header, and the numbers of every tensor one after the other.

/**
 * @typedef {Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer> | Int16Array<ArrayBuffer> | Int32Array<ArrayBuffer> |
 *   Uint8Array<ArrayBuffer>} TensorData
 */

/**
 * @typedef {Object} Tensor
 * @property {string} dtype      "F32", "F64", "I16", "I32", "U8" or "BOOL"
 * @property {number[]} shape
 * @property {TensorData} data   row by row, the last axis fastest
 */

/** @typedef {{tensors: Map<string, Tensor>, metadata: Record<string, string>}} TensorFile */

/** @type {Record<string, new (buffer: ArrayBuffer, offset: number, length: number) => TensorData>} */
const ARRAYS = {
  F32: Float32Array,
  F64: Float64Array,
  I16: Int16Array,
  I32: Int32Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
};

const LENGTH_BYTES = 8;

/**
 * The tensors of a safetensors file, which share its memory.
 *
 * @param {ArrayBuffer} buffer the whole file
 * @returns {TensorFile}
 * @throws {Error} not such a file, or one with a type of numbers that no capsule has
 */
export function readTensors(buffer) {
  const bytes = buffer.byteLength;
  const length = bytes < LENGTH_BYTES ? Number.NaN : Number(new DataView(buffer).getBigUint64(0, true));
  const start = LENGTH_BYTES + length;
  if (!(start <= bytes)) throw new Error("this is no safetensors file: it ends before its header does");
  /** @type {Record<string, any>} */
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, LENGTH_BYTES, length)));
  const { __metadata__: metadata = {}, ...entries } = header;
  /** @type {Map<string, Tensor>} */
  const tensors = new Map();
  for (const [name, entry] of Object.entries(entries)) {
    tensors.set(name, readTensor(buffer, start, name, entry));
  }
  return { tensors, metadata };
}

/**
 * @param {ArrayBuffer} buffer
 * @param {number} start where the header ends
 * @param {string} name
 * @param {{dtype: string, shape: number[], data_offsets: [number, number]}} entry
 * @returns {Tensor}
 */
function readTensor(buffer, start, name, { dtype, shape, data_offsets: [from, to] }) {
  const kind = ARRAYS[dtype];
  if (!kind) throw new Error(`tensor ${name} has numbers of type ${dtype}, which this viewer cannot read`);
  if (start + to > buffer.byteLength) throw new Error(`the file ends before tensor ${name} does`);
  const count = shape.reduce((product, side) => product * side, 1);
  const size = count === 0 ? 1 : (to - from) / count;
  // typed arrays begin at a multiple of their numbers' size: a tensor that does not is copied
  if ((start + from) % size === 0) return { dtype, shape, data: new kind(buffer, start + from, count) };
  return { dtype, shape, data: new kind(buffer.slice(start + from, start + to), 0, count) };
}
