/* Elements. Text is set as text, never as markup: a name from a run stays a name. */

import { DATA } from "./data.js";

const SVG = "http://www.w3.org/2000/svg";

export const $ = (id) => document.getElementById(id);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

export function make(tag, properties = {}, ...children) {
  const { data, aria, ...rest } = properties, element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, data || {});
  for (const name in aria) element.setAttribute(`aria-${name}`, aria[name]);
  element.append(...children.filter((c) => c != null));
  return element;
}

export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  element.append(...children);
  return element;
}

export const put = (element, text) => {
  if (element && element.textContent !== text) element.textContent = text;
};

/* A choice with its name before it; `part` of the view. */
export function select(part, label, options) {
  const listed = Object.entries(options).map(([value, textContent]) => make("option", { value, textContent }));
  return make("label", { className: "select" }, make("span", { textContent: label }), make("select", { data: { set: part } }, ...listed));
}

export function choices(part, label, options) {
  const buttons = Object.entries(options).map(([to, textContent]) =>
    make("button", { className: "choice", type: "button", textContent, data: { set: part, to }, aria: { pressed: "false" } }));
  return make("span", { className: "switch", role: "group", aria: { label } }, ...buttons);
}

/* A colour of a scale at a place 0..1, and black or white, whichever reads better on it, for light and dark. */
export function shade(meaning, place) {
  const [ground, ink] = DATA.colours[meaning][Math.round(Math.max(0, Math.min(1, place)) * (DATA.colours[meaning].length - 1))];
  return [ground, ink];
}

export const gradient = (meaning) => `linear-gradient(to right,${DATA.colours[meaning].filter((_, i) => i % 10 === 0).map(([c]) => c).join(",")})`;

/* The limit of a range symmetric about 0: the largest, rounded up to 1, 1.5, 2, 3, 5 or 7 times a power of ten. */
export function fitted(values, least) {
  const largest = Math.max(0, ...values.map(Math.abs));
  if (largest <= least) return least;
  const unit = 10 ** Math.floor(Math.log10(largest));
  return [1, 1.5, 2, 3, 5, 7, 10].map((m) => m * unit).find((x) => largest <= x * (1 + 1e-9));
}

export const marks = (list) => list.map((mark) => make("mark", { className: mark.replace(" ", "-"), textContent: mark }));
