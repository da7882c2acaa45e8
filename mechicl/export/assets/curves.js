/* The curves over training: what was recorded, with its intervals, and dashed what an ablation makes of them. */

import { plain, short, whole } from "./numbers.js";
import { DATA, EVALUATORS } from "./data.js";
import { $, make, svg } from "./dom.js";
import { glyph } from "./effects.js";

const MARKED = 9; // markers of a curve, at most
const MARGIN = { left: 44, top: 40, bottom: 46 };
const OUTLINES = {
  circle: "M4 0A4 4 0 1 1 -4 0A4 4 0 1 1 4 0Z", square: "M-3.6 -3.6H3.6V3.6H-3.6Z", "triangle-up": "M0 -4.6L4.3 3.2H-4.3Z",
  diamond: "M0 -4.8L4.3 0L0 4.8L-4.3 0Z", x: "M-3.4 -3.4L3.4 3.4M-3.4 3.4L3.4 -3.4", star: "M0 -5L1.3 -1.6L4.8 -1.5L2 .6L3 4L0 2L-3 4L-2 .6L-4.8 -1.5L-1.3 -1.6Z",
  cross: "M-1.4 -4H1.4V-1.4H4V1.4H1.4V4H-1.4V1.4H-4V-1.4H-1.4Z",
};
let plot = null; // {x, y, width, height, view}: how numbers become places

const time = (view, sequences) => (view.unit === "steps" ? sequences / DATA.batch : sequences);

/* Everything; ablated: Map of steps to {evaluator: value}, or null. */
export function drawCurves(view, ablated) {
  const place = $("graph"), width = place.clientWidth, height = place.clientHeight, narrow = width < 520;
  if (!width) return;
  const right = Math.max(narrow ? 44 : 60, ...DATA.evaluators.map((e) => 10 + 6.4 * e.short.length)), log = view.axis === "log", top = narrow ? 52 : MARGIN.top;
  const times = [...DATA.sequences, ...DATA.evaluators.flatMap((e) => e.curve.sequences)].map((s) => time(view, s)).filter((s) => s > 0 || !log);
  const scaled = (v) => (log ? Math.log10(v) : v), low = scaled(Math.min(...times)), high = scaled(Math.max(...times));
  const pad = (high - low || 1) * 0.02, bottom = height - MARGIN.bottom;
  const x = (sequences) => MARGIN.left + ((scaled(time(view, sequences)) - low + pad) / (high - low + 2 * pad)) * (width - MARGIN.left - right);
  const y = (value) => bottom - ((value - DATA.floor) / (DATA.ceiling - DATA.floor)) * (bottom - top);
  plot = { x, y, top, bottom, log, left: MARGIN.left, right: width - right };
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": describe() });
  drawing.append(axes(view, low, high, width, height, scaled), guesses(), momentsAt(view, narrow));
  const clip = svg("clipPath", { id: "inside" }); // a gain can lie below the axis
  clip.append(svg("rect", { x: MARGIN.left - 5, y: 0, width: width - right - MARGIN.left + 10, height: bottom + 1 }));
  drawing.append(clip);
  for (const e of DATA.evaluators) drawing.append(curve(e, ablated));
  drawing.append(below(), names());
  place.replaceChildren(drawing);
  moveCursor(view);
}

/* For those who hear the page: where each curve begins, peaks and ends. */
function describe() {
  return "Curves over training. " + DATA.evaluators.filter((e) => e.curve.value.length).map((e) => {
    const { value, sequences } = e.curve, top = value.indexOf(e.sign < 0 ? Math.min(...value) : Math.max(...value));
    return `${e.short}: from ${plain(value[0])}, ${e.sign < 0 ? "lowest" : "highest"} ${plain(value[top])} at ${short(sequences[top])} sequences, ${plain(value.at(-1))} at the end.`;
  }).join(" ");
}

function axes(view, low, high, width, height, scaled) {
  const { y, left, right, bottom, top } = plot, group = svg("g", { class: "axes" });
  for (let v = Math.ceil(DATA.floor * 5) / 5; v <= DATA.ceiling; v += 0.2) {
    const text = svg("text", { x: left - 7, y: y(v) + 4, "text-anchor": "end" });
    text.textContent = plain(v, 1).replace(/\.0$/, "");
    group.append(svg("line", { x1: left, x2: right, y1: y(v), y2: y(v), class: "grid" }), text);
  }
  const ticks = ticksOf(low, high, plot.log);
  for (const at of ticks) {
    const place = left + ((scaled(at) - low + (high - low) * 0.02) / ((high - low) * 1.04 || 1)) * (right - left);
    const text = svg("text", { x: place, y: bottom + 17, "text-anchor": "middle" });
    text.textContent = short(at);
    group.append(svg("line", { x1: place, x2: place, y1: top, y2: bottom + 5, class: "grid" }), text);
  }
  const below = svg("text", { x: (left + right) / 2, y: height - 8, "text-anchor": "middle" });
  below.textContent = (view.unit === "steps" ? "optimiser steps" : "training sequences seen") + (plot.log ? " (log scale)" : "");
  const beside = svg("text", { transform: `translate(12 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" });
  const n = DATA.evaluators.find((e) => e.curve.n.length)?.curve.n[0];
  beside.textContent = DATA.quantity + (n ? `, n = ${whole(n)}` : "");
  group.append(below, beside, svg("line", { x1: left, x2: right, y1: bottom, y2: bottom, class: "axis" }));
  return group;
}

function ticksOf(low, high, log) {
  const out = [];
  if (log) {
    const several = Math.floor(high) - Math.ceil(low) >= 1 ? [1] : [1, 2, 5];
    for (let k = Math.floor(low); k <= Math.ceil(high); k++) for (const m of several) out.push(m * 10 ** k);
    return out.filter((at) => Math.log10(at) >= low - 1e-9 && Math.log10(at) <= high + 1e-9);
  }
  const raw = (high - low || 1) / 5, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * unit).find((s) => s >= raw);
  for (let at = Math.ceil(low / step) * step; at <= high + 1e-9; at += step) out.push(at);
  return out;
}

/* What guessing scores: a dotted line for each level, with the evaluators that it is of. */
function guesses() {
  const levels = new Map(), group = svg("g");
  for (const e of DATA.evaluators) levels.set(e.chance.toFixed(2), [...(levels.get(e.chance.toFixed(2)) || []), e]);
  for (const each of levels.values()) {
    const at = plot.y(each[0].chance), line = svg("line", { x1: plot.left, x2: plot.right, y1: at, y2: at, class: "guess" });
    const title = svg("title");
    title.textContent = `guessing: ${each.map((e) => `${e.short} ${plain(e.chance)}`).join(", ")}`;
    line.append(title);
    group.append(line);
    if (each[0].chance < 0.05) continue; // on the axis: no room, and nothing to compare with
    const text = svg("text", { x: plot.right - 3, y: at + 12, "text-anchor": "end", class: "guess" });
    text.textContent = "guessing";
    group.append(text);
  }
  return group;
}

function momentsAt(view, narrow) {
  const group = svg("g", { class: "moments" });
  DATA.moments.forEach(({ says, label, at }, i) => {
    const best = label !== "onset" && label !== "half-decay"; // "peak", or of an error "minimum"
    const place = plot.x(at);
    if (place < plot.left || place > plot.right) return; // before the first checkpoint that a log axis shows
    const text = svg("text", { y: narrow ? 14 + 13 * i : best ? 14 : 30 });
    const side = narrow ? (place < (plot.left + plot.right) / 2 ? "start" : "end") : best ? "middle" : label === "onset" ? "end" : "start";
    const room = side === "start" ? 3 : side === "end" ? -3 : 0;
    text.setAttribute("x", place + room);
    text.setAttribute("text-anchor", side);
    text.textContent = `${says} ${short(time(view, at))}`;
    group.append(svg("line", { x1: place, x2: place, y1: narrow ? 5 + 13 * DATA.moments.length : best ? 18 : 34, y2: plot.bottom }), text);
  });
  return group;
}

const visible = (list) => list.filter(([s]) => s > 0 || !plot.log);
const path = (points) => points.map(([s, v], i) => `${i ? "L" : "M"}${plot.x(s).toFixed(1)} ${plot.y(v).toFixed(1)}`).join("");

function curve(e, ablated) {
  const { sequences, value, low, high } = e.curve, group = svg("g", { class: "curve", color: e.colour }), clip = { "clip-path": "url(#inside)" };
  const points = visible(sequences.map((s, i) => [s, value[i], low[i], high[i]]));
  if (points.length) {
    const edge = [...points.map(([s, , , v]) => [s, v]), ...points.map(([s, , v]) => [s, v]).reverse()];
    group.append(svg("path", { d: path(edge) + "Z", class: "band", ...clip }), svg("path", { d: path(points), class: "line", ...clip }), ...markers(points, e.symbol, ""));
  }
  const under = visible([...(ablated || [])].filter(([, values]) => e.name in values).map(([step, values]) => [step * DATA.batch, values[e.name]]).sort((a, b) => a[0] - b[0]));
  if (under.length) group.append(svg("path", { d: path(under), class: "line ablated", ...clip }), ...markers(under, e.symbol, " open"));
  return group;
}

function markers(points, symbol, more) {
  const every = Math.max(1, Math.ceil(points.length / MARKED));
  return points.filter(([, v], i) => v >= DATA.floor && (i % every === 0 || i === points.length - 1)).map(([s, v]) =>
    svg("path", { d: OUTLINES[symbol] || OUTLINES.circle, class: "marker" + more, transform: `translate(${plot.x(s).toFixed(1)} ${plot.y(v).toFixed(1)})` }));
}

/* A curve that comes from below the axis: an arrow where it comes in, with where it began. */
function below() {
  const group = svg("g", { class: "below" });
  for (const e of DATA.evaluators) {
    const points = visible(e.curve.sequences.map((s, i) => [s, e.curve.value[i]])), first = points.findIndex(([, v]) => v >= DATA.floor);
    if (first === 0 || !points.length) continue;
    const before = points[first < 0 ? points.length - 1 : first - 1], after = points[Math.max(first, 0)];
    const part = first < 0 ? 0 : (DATA.floor - before[1]) / (after[1] - before[1]);
    const at = first < 0 ? plot.x(before[0]) : plot.x(before[0]) + part * (plot.x(after[0]) - plot.x(before[0]));
    const arrow = svg("path", { d: "M-4 -7H4L0 -1Z", transform: `translate(${at.toFixed(1)} ${plot.bottom})`, color: e.colour, class: "marker" }), title = svg("title");
    title.textContent = `${e.short} begins below the axis, at ${plain(points[0][1])}`;
    arrow.append(title);
    group.append(arrow);
  }
  return group;
}

/* Evaluators' names where their curves end, moved apart where they would overlap. */
function names() {
  const group = svg("g", { class: "ends" }), gap = 14;
  const ends = DATA.evaluators.filter((e) => e.curve.value.length).map((e) => ({ e, at: plot.y(e.curve.value.at(-1)) })).sort((a, b) => b.at - a.at);
  ends.forEach((end, i) => (end.at = Math.min(end.at, i ? ends[i - 1].at - gap : plot.bottom)));
  ends.reverse().forEach((end, i) => (end.at = Math.max(end.at, i ? ends[i - 1].at + gap : plot.top + 4)));
  for (const { e, at } of ends) {
    const text = svg("text", { x: plot.right + 4, y: at + 4 });
    text.style.fill = e.colour;
    text.textContent = e.short;
    group.append(text);
  }
  return group;
}

export function moveCursor(view) {
  const cursor = $("cursor"), sequences = DATA.sequences[DATA.steps.indexOf(view.step)];
  if (!plot) return;
  const at = plot.log && !sequences ? plot.left : plot.x(sequences); // a log axis has no place for 0
  cursor.hidden = false;
  cursor.style.transform = `translateX(${at}px)`;
  cursor.style.top = `${plot.top}px`;
  cursor.style.height = `${plot.bottom - plot.top}px`;
}

/* Under the pointer: the recorded scores there, and the ablated ones. A click goes to that checkpoint. */
export function followPointer(go, ablated) {
  const place = $("graph"), box = $("hover");
  const nearest = (event) => {
    const at = event.clientX - place.getBoundingClientRect().left;
    const distance = (i) => Math.abs((plot.log && !DATA.sequences[i] ? plot.left : plot.x(DATA.sequences[i])) - at);
    return DATA.steps.reduce((best, _, i) => (distance(i) < distance(best) ? i : best), 0);
  };
  place.addEventListener("pointerleave", () => (box.hidden = true));
  place.addEventListener("click", (event) => plot && go(nearest(event)));
  place.addEventListener("pointermove", (event) => {
    if (!plot) return;
    const i = nearest(event), step = DATA.steps[i], values = ablated()?.get(step) || {};
    const lines = Object.values(EVALUATORS).filter((e) => e.curve.sequences.includes(DATA.sequences[i])).map((e) => {
      const j = e.curve.sequences.indexOf(DATA.sequences[i]), key = make("i", { textContent: glyph(e.symbol) });
      key.style.color = e.colour;
      const under = e.name in values ? `, ablated ${plain(values[e.name])}` : "";
      return make("div", {}, key, ` ${e.short} ${plain(e.curve.value[j])} [${plain(e.curve.low[j])}, ${plain(e.curve.high[j])}]${under}`);
    });
    box.replaceChildren(make("div", { textContent: `${whole(DATA.sequences[i])} sequences · step ${whole(step)}` }), ...lines);
    box.hidden = false;
    const at = plot.log && !DATA.sequences[i] ? plot.left : plot.x(DATA.sequences[i]), left = at > place.clientWidth / 2;
    box.style.left = left ? "" : `${at + 12}px`;
    box.style.right = left ? `${place.clientWidth - at + 12}px` : "";
  });
}
