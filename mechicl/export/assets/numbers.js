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

/* The share of right answers and Wilson's 95% interval. */
export function share(bits) {
  const n = bits.length, value = bits.reduce((sum, x) => sum + x, 0) / n;
  const centre = (value + (Z * Z) / (2 * n)) / (1 + (Z * Z) / n);
  const half = (Z / (1 + (Z * Z) / n)) * Math.sqrt((value * (1 - value)) / n + (Z * Z) / (4 * n * n));
  return { value, low: Math.min(value, Math.max(0, centre - half)), high: Math.max(value, Math.min(1, centre + half)), n };
}

/* How much more is right after than before, on the same sequences, and Agresti and Min's 95% interval. */
export function change(before, after) {
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
