/* Who adds what to which label's logit, and the labels' probabilities. */

import { plain, signed, whole } from "./numbers.js";
import { COLUMNS, DATA, EVALUATORS, called } from "./data.js";
import { $, fitted, make, marks, put, shade } from "./dom.js";

const TOP = 4; // likeliest outputs beside the marked ones

/* The question to the engine. */
export function logitsAsked(view) {
  const { look } = EVALUATORS[view.evaluator], one = view.sequence !== null;
  return { outputs: one ? look.candidates[view.sequence] : COLUMNS[view.evaluator], top: one ? TOP : 0 };
}

/* found: as `Engine.logits` answers. */
export function drawLogits(view, found) {
  const { look } = EVALUATORS[view.evaluator], one = view.sequence !== null, [intact, ablated] = found.sides;
  const answers = one ? Object.entries(look.answers[view.sequence]) : [];
  let columns = found.columns.map((output, i) => ({
    i,
    name: one ? called(output) : look.columns[i].name,
    marks: one ? answers.filter(([, y]) => y === output).map(([mark]) => mark) : look.columns[i].marks,
  }));
  if (one) columns = columns.sort((a, b) => intact.chances[b.i] - intact.chances[a.i]);
  const mean = one ? "" : "mean ", total = (side, i) => side.parts.reduce((sum, row) => sum + row[i], 0);
  const bar = (side, i, kind) => {
    const fill = make("i");
    fill.style.width = `${100 * side.chances[i]}%`;
    return make("td", {}, make("div", { className: `chance-bar ${kind}` }, fill,
      make("span", { textContent: `${mean}p = ${plain(side.chances[i])}, ${mean}logit ${signed(total(side, i), 2)}` })));
  };
  const heads = [DATA.answer, "intact", ...(ablated ? ["ablated"] : [])].map((textContent) => make("th", { scope: "col", textContent }));
  $("logits-labels").replaceChildren(make("table", { className: "labels" }, make("tr", {}, ...heads),
    ...columns.map((c) => make("tr", {}, make("th", { scope: "row" }, `${c.name} `, ...marks(c.marks)), bar(intact, c.i, "intact"), ablated ? bar(ablated, c.i, "ablated") : null))));

  const limit = fitted(found.sides.flatMap((side) => side.parts.flat()), 0.1);
  const table = make("table", { className: "parts" });
  const title = (textContent, colSpan) => make("th", { scope: "colgroup", textContent, colSpan });
  table.append(make("thead", {}, make("tr", {}, make("td"), title("intact", columns.length), ablated ? title("ablated", columns.length) : null),
    make("tr", {}, make("td"), ...found.sides.flatMap(() => columns.map((c) => make("th", { scope: "col" }, c.name, " ", ...marks(c.marks)))))));
  table.append(make("tbody", {}, ...found.parts.map((part, r) =>
    make("tr", {}, make("th", { scope: "row", textContent: part }), ...found.sides.flatMap((side, s) => columns.map((c, k) => {
      const value = side.parts[r][c.i], cell = make("td", { textContent: signed(value, 2), className: s && !k ? "second" : "", title: `${part} adds ${signed(value, 2)} to ${c.name}` });
      [cell.style.background, cell.style.color] = shade("logit", 0.5 + value / (2 * limit));
      return cell;
    }))))));
  $("logits").replaceChildren(table);
  const what = one ? `${view.evaluator} sequence ${whole(view.sequence)}` : `mean over ${whole(EVALUATORS[view.evaluator].set.n)} ${view.evaluator} sequences`;
  put($("logits-note"), `Logits relative to the mean logit of all ${DATA.answer}s, ${what}; p is over all ${DATA.answer}s. Green raises a ${DATA.answer}, magenta lowers it, full at ±${plain(limit, 1)}: ` +
    "the largest part shown, rounded up. A column sums to its logit.");
}

export function noLogits() {
  for (const id of ["logits-labels", "logits"]) $(id).replaceChildren();
  put($("logits-note"), "");
}
