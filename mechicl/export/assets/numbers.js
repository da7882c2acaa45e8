/* Numbers as they are stored, and their means and intervals (mechicl/statistics.py). */

const Z = 1.959963984540054; // the normal distribution's 97.5% point

/* Base64 to bytes. */
export function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out;
}

/* float16 to float32, exactly. */
export function halves(buffer) {
  const source = new Uint16Array(buffer), out = new Float32Array(source.length), table = (halves.table ||= tabled());
  for (let i = 0; i < source.length; i++) out[i] = table[source[i]];
  return out;
}

function tabled() {
  return Float32Array.from({ length: 65536 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, part = bits & 1023;
    if (exponent === 31) return part ? NaN : sign * Infinity;
    return sign * (exponent ? (1 + part / 1024) * 2 ** (exponent - 15) : part * 2 ** -24);
  });
}

export const meanOf = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;

/* Mean and 95% interval over sequences: Wilson's of what is 1 or 0, else the normal one. */
export function mean(values, yesOrNo) {
  if (!yesOrNo) return normal(values);
  const n = values.length, value = meanOf(values);
  const centre = (value + (Z * Z) / (2 * n)) / (1 + (Z * Z) / n);
  const half = (Z / (1 + (Z * Z) / n)) * Math.sqrt((value * (1 - value)) / n + (Z * Z) / (4 * n * n));
  return { value, low: Math.min(value, Math.max(0, centre - half)), high: Math.max(value, Math.min(1, centre + half)), n };
}

/* Of one sequence there is no interval: it is the value itself. */
function normal(values) {
  const n = values.length, value = meanOf(values);
  const half = n > 1 ? Z * Math.sqrt(values.reduce((sum, x) => sum + (x - value) ** 2, 0) / (n - 1) / n) : 0;
  return { value, low: value - half, high: value + half, n };
}

/* How much more it is after than before, on the same sequences, and its 95% interval: Agresti and Min's of what is 1 or
   0, else the normal one. */
export function change(before, after, yesOrNo) {
  if (!yesOrNo) return normal(Array.from(after, (x, i) => x - before[i]));
  let won = 0, lost = 0;
  for (let i = 0; i < before.length; i++) {
    won += after[i] > before[i];
    lost += after[i] < before[i];
  }
  const n = before.length, value = (won - lost) / n, centre = (won - lost) / (n + 2);
  const half = (Z * Math.sqrt(won + lost + 1 - (won - lost) ** 2 / (n + 2))) / (n + 2);
  return { value, low: Math.min(value, centre - half), high: Math.max(value, centre + half), n };
}

/* .598, −.012: without the zero that says nothing. */
export function plain(value, digits = 3) {
  const text = value.toFixed(digits);
  if (!Number(text)) return text.replace("-", "");
  return Math.abs(Number(text)) < 1 ? text.replace("-", "−").replace("0.", ".") : text.replace("-", "−");
}

/* +.021, −.381: a change. */
export function signed(value, digits = 3) {
  const text = plain(Math.abs(value), digits);
  return Number(text) ? (value < 0 ? "−" : "+") + text : text;
}

export const interval = (number, write = plain) => `[${write(number.low)}, ${write(number.high)}]`;

export const whole = (value) => value.toLocaleString("en");

/* 12345678 -> 12.3M. */
export function short(value) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (value >= 0.9995 * size) return Number((value / size).toPrecision(3)) + unit;
  return String(Math.round(value));
}
