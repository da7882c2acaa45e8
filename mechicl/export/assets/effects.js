/* The table of this checkpoint: every evaluator intact and ablated, with intervals. */

import { change, interval, mean, plain, signed, whole } from "./numbers.js";
import { DATA, EVALUATORS } from "./data.js";
import { $, make, put } from "./dom.js";

const GLYPHS = { circle: "●", square: "■", "triangle-up": "▲", diamond: "◆", x: "✖", star: "★", cross: "✚" };
export const glyph = (symbol) => GLYPHS[symbol] || "●";
const rows = {};

export function buildEffects() {
  const ends = together() ? scaleEnds([0, 1], DATA.quantity) : make("div", { textContent: DATA.quantity });
  const head = ["evaluator", ends, "intact", "ablated", "change"].map((what) => {
    const cell = make("th", { scope: "col", className: what === ends ? "wide" : "" });
    cell.append(what);
    return cell;
  });
  $("effect").append(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...DATA.evaluators.map(row)));
}

/* One scale for all rows; else each says its own. */
const together = () => DATA.evaluators.every((e) => e.span[0] === 0 && e.span[1] === 1);

const end = (value) => plain(value, 1).replace(/\.0$/, "");
const scaleEnds = ([low, high], what) => make("div", { className: "ends" }, ...[end(low), what, end(high)].map((textContent) => make("span", { textContent })));

function row(e) {
  const mark = (tag, className) => make(tag, { className });
  const parts = { span: e.span, ranges: [mark("i", "range intact"), mark("i", "range ablated")], dots: [mark("b", "dot intact"), mark("b", "dot ablated")], cells: {} };
  const chance = make("i", { className: "chance", title: `guessing ${plain(e.chance)}` });
  chance.style.left = percent(e.chance, e.span);
  const bar = (parts.bar = make("div", { className: "bar" }, chance, ...parts.ranges, ...parts.dots));
  bar.setAttribute("role", "img");
  bar.style.setProperty("--own", e.colour);
  const cell = (what) => {
    const value = make("span", { textContent: "–", data: { cell: `${e.name}.${what}` } });
    const range = make("small", { data: { cell: `${e.name}.${what}_ci` } });
    parts.cells[what] = [value, range];
    return make("td", {}, value, range);
  };
  const n = make("span", { textContent: whole(e.set.n), data: { cell: `${e.name}.n` } });
  const name = make("th", { scope: "row", title: e.explained }, make("span", { className: "name" }, e.short, make("i", { textContent: glyph(e.symbol), aria: { hidden: "true" } })),
    make("small", {}, e.meaning, make("br"), "n = ", n));
  name.style.setProperty("--own", e.colour);
  rows[e.name] = parts;
  const scale = make("td", { className: "wide" }, bar, together() ? "" : scaleEnds(e.span, e.quantity));
  parts.line = make("tr", { data: { row: e.name } }, name, scale, cell("intact"), cell("ablated"), cell("change"));
  return parts.line;
}

/* A place along the bar; what is beyond its scale stands at the end. */
const percent = (value, [low, high]) => `${100 * Math.max(0, Math.min(1, (value - low) / (high - low)))}%`;

/* One evaluator's row. before, after: the number of every sequence; after null: nothing is ablated. */
export function drawEffect(name, before, after) {
  const parts = rows[name], yesOrNo = EVALUATORS[name].set.how.yes_or_no;
  const sides = [mean(before, yesOrNo), after && mean(after, yesOrNo)], gap = after && change(before, after, yesOrNo);
  const write = (what, text, range) => [text, range].forEach((said, i) => put(parts.cells[what][i], said));
  write("intact", plain(sides[0].value), interval(sides[0]));
  write("ablated", after ? plain(sides[1].value) : "–", after ? interval(sides[1]) : "");
  write("change", gap ? signed(gap.value) : "–", gap ? interval(gap, signed) : "");
  parts.line.classList.toggle("clear", Boolean(gap) && (gap.low > 0 || gap.high < 0));
  sides.forEach((side, i) => {
    parts.ranges[i].hidden = parts.dots[i].hidden = !side;
    if (!side) return;
    parts.dots[i].style.left = percent(side.value, parts.span);
    parts.ranges[i].style.left = percent(side.low, parts.span);
    parts.ranges[i].style.right = `calc(100% - ${percent(side.high, parts.span)})`;
  });
  parts.bar.setAttribute("aria-label", `intact ${plain(sides[0].value)}` + (after ? `, ablated ${plain(sides[1].value)}` : ""));
}

/* No number of another view stands where one has failed. */
export function noEffects() {
  for (const { cells, ranges, dots, line } of Object.values(rows)) {
    for (const [value, range] of Object.values(cells)) put(value, "–"), put(range, "");
    for (const mark of [...ranges, ...dots]) mark.hidden = true;
    line.classList.remove("clear");
  }
}
