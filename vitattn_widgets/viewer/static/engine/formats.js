// @ts-check
// Numbers and strings as Python writes them: JavaScript rounds ties up, Python to the even digit.

/** Decimals in which a tie shows: no double is nearer to one than 1e-17 of its size, and not on it. */
const EXACT = 60;

/**
 * A number with a fixed number of decimals: Python's format ".1f".
 *
 * @param {number} value
 * @param {number} decimals
 * @returns {string}
 */
export function fixed(value, decimals) {
  return halfEven(value.toFixed(decimals + EXACT), value.toFixed(decimals), EXACT);
}

/**
 * A share as a percentage: Python's format ".1%".
 *
 * @param {number} share
 * @param {number} decimals
 * @returns {string} "12.5%"
 */
export function percent(share, decimals) {
  return `${fixed(share * 100, decimals)}%`;
}

/**
 * A number in three digits, with an exponent if it is very small or large: Python's format ".3g".
 *
 * @param {number} value
 * @returns {string} "0.123", "12.3", "1.2e-05"
 */
export function threeDigits(value) {
  const [long, power] = value.toExponential(2 + EXACT).split("e");
  const [short, shortPower] = value.toExponential(2).split("e");
  const tie = power === shortPower; // otherwise rounding has carried into another power of ten, which no tie does
  const digits = tie ? halfEven(long, short, EXACT) : short;
  const exponent = Number(shortPower);
  if (exponent >= -4 && exponent < 3) return withoutZeros(Number(`${digits}e${exponent}`).toFixed(2 - exponent));
  return `${withoutZeros(digits)}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/**
 * A rounded number, whose last digit is made even if it was a tie.
 *
 * @param {string} exact the number with more digits
 * @param {string} rounded the same, ties rounded away from zero
 * @param {number} more how many digits more
 */
function halfEven(exact, rounded, more) {
  const tail = exact.slice(-more);
  if (tail[0] !== "5" || /[1-9]/.test(tail.slice(1))) return rounded;
  const kept = exact.slice(0, -more);
  return Number(kept.replace(/\.$/, "").at(-1)) % 2 === 0 ? kept.replace(/\.$/, "") : rounded;
}

/** @param {string} text @returns {string} without zeros at the end of its decimals */
function withoutZeros(text) {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

const ESCAPES = /** @type {Record<string, string>} */ ({ "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" });

/**
 * A value as Python code: `repr` of a string, a whole number, None, True, False, or a tuple of them.
 *
 * @param {unknown} value
 * @returns {string}
 */
export function pythonValue(value) {
  if (typeof value === "string") return pythonString(value);
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `(${value.map(pythonValue).join(", ")})`;
  return value === null || value === undefined ? "None" : String(value);
}

/**
 * A number as Python's `repr` writes a float.
 *
 * @param {number} value of at most 1e16
 * @returns {string} "0.5", "1.0", "1e-05"
 */
export function pythonFloat(value) {
  const size = Math.abs(value);
  if (size === 0 || size >= 1e-4) return Number.isInteger(value) ? `${value}.0` : String(value);
  const [digits, exponent] = value.toExponential().split("e-");
  return `${digits}e-${exponent.padStart(2, "0")}`;
}

/** @param {string} text @returns {string} */
function pythonString(text) {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  let code = "";
  for (const character of text) {
    if (character in ESCAPES) code += ESCAPES[character];
    else if (character === quote) code += `\\${quote}`;
    // what Python does not call printable: separators but for the space, control and unassigned characters
    else if (character !== " " && /[\p{C}\p{Z}]/u.test(character)) code += escaped(character.codePointAt(0) ?? 0);
    else code += character;
  }
  return `${quote}${code}${quote}`;
}

/** @param {number} point @returns {string} */
function escaped(point) {
  if (point < 0x100) return `\\x${point.toString(16).padStart(2, "0")}`;
  return point < 0x10000 ? `\\u${point.toString(16).padStart(4, "0")}` : `\\U${point.toString(16).padStart(8, "0")}`;
}
