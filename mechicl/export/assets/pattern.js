/* One attention pattern: boxes with the names of the positions, or, of a long sequence, one picture. */

import { plain } from "./numbers.js";
import { $, all, make, shade, svg } from "./dom.js";

const MANY = 24; // positions; more are one picture: an element for each pair takes a browser longer than the model does

const pair = (names, i, j, v) => `${names[i]} → ${names[j]}: ${plain(v)}`;
const placed = (meaning, v) => (meaning === "change" ? (v + 1) / 2 : v); // on its scale, 0 to 1

/* t x t values, row after row; says: what those hear who do not see it. */
export function pattern(t, values, names, meaning, size, labels, says) {
  return t > MANY ? picture(t, values, names, meaning, size, says) : boxes(t, values, names, meaning, size, labels, says);
}

/* A pixel for each pair; what a pair is stands in the title where the pointer is. */
function picture(t, values, names, meaning, size, says) {
  const canvas = make("canvas", { width: t, height: t, className: "pattern picture", aria: { label: says } });
  canvas.setAttribute("role", "img");
  canvas.style.width = `${size / 10}rem`;
  canvas.paint = () => {
    const context = canvas.getContext("2d"), pixels = context.createImageData(t, t), dark = document.documentElement.dataset.theme === "dark";
    for (let i = 0; i < t; i++) for (let j = 0; j <= i; j++) pixels.data.set(rgba(shade(meaning, placed(meaning, values[i * t + j]))[0], dark), 4 * (i * t + j));
    context.putImageData(pixels, 0, 0);
  };
  canvas.addEventListener("pointermove", (event) => {
    const [j, i] = [event.offsetX, event.offsetY].map((at) => Math.min(t - 1, Math.floor((at / canvas.clientWidth) * t)));
    canvas.title = i < 0 || j < 0 || j > i ? says : pair(names, i, j, values[i * t + j]);
  });
  canvas.paint();
  return canvas;
}

/* In another theme: pictures have their colours in themselves. */
export const repaint = () => all("canvas.picture", $("patterns")).forEach((canvas) => canvas.paint());

/* 'light-dark(#bdaee1,#443276)' as bytes. */
const known = new Map();
function rgba(colour, dark) {
  const key = colour + dark;
  if (!known.has(key)) {
    const hex = colour.match(/#[0-9a-f]{6}/gi)[dark ? 1 : 0];
    known.set(key, [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).concat(255));
  }
  return known.get(key);
}

/* A box for each pair. */
function boxes(t, values, names, meaning, size, labels, says) {
  const small = size < 200, left = labels ? (small ? 16 : 52) : 0, below = labels ? (small ? 12 : 26) : 0, each = (size - left) / t;
  const drawing = svg("svg", { viewBox: `0 0 ${size} ${t * each + below}`, width: `${size / 10}rem`, class: "pattern" + (small ? " small" : ""), role: "img", "aria-label": says });
  for (let i = 0; i < t; i++) {
    for (let j = 0; j <= i; j++) {
      const v = values[i * t + j], box = svg("rect", { x: left + j * each + 0.5, y: i * each + 0.5, width: Math.max(0.5, each - 1), height: Math.max(0.5, each - 1) }), title = svg("title");
      box.style.fill = shade(meaning, placed(meaning, v))[0];
      title.textContent = pair(names, i, j, v);
      box.append(title);
      drawing.append(box);
    }
    if (!labels) continue;
    const row = svg("text", { x: left - (small ? 3 : 6), y: (i + 0.62) * each, "text-anchor": "end" });
    const column = svg("text", { x: left + (i + 0.5) * each, y: t * each + (small ? 9 : 16), "text-anchor": "middle" });
    row.textContent = column.textContent = small && names[i] === "query" ? "q" : names[i];
    drawing.append(row);
    if (each >= 14 || i % 2 === 0) drawing.append(column);
  }
  return drawing;
}
