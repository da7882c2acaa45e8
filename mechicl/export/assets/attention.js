/* Attention patterns of one sequence or the average, and the sequence's tokens. */

import { whole } from "./numbers.js";
import { DATA, EVALUATORS, called } from "./data.js";
import { $, gradient, make, marks, put } from "./dom.js";
import { pattern } from "./pattern.js";
import { HEADS, ablationOf } from "./state.js";

const { layers, heads: across, positions: t } = DATA.shape;

/* What stands at each position: of the chosen sequence, or what those of the average have in common. */
export const tokensOf = (view) => {
  const { look } = EVALUATORS[view.evaluator];
  return view.sequence === null ? look.named : look.sequences[view.sequence].map((i) => look.tokens[i]);
};

export function drawTokens(view) {
  const { look } = EVALUATORS[view.evaluator], tokens = tokensOf(view);
  const alike = tokens.some((token) => token.label || token.image || token.text || token.marks.length); // else there are numbers alone
  $("tokens").replaceChildren(...(alike ? tokens : []).map((token) =>
    make("div", { className: "token" + (token.label ? " label" : "") + (token.match ? " match" : "") }, make("small", { textContent: token.name }),
      token.image ? make("img", { src: token.image, alt: token.text, title: token.text }) : make("span", { textContent: token.text || "·" }), ...marks(token.marks))));
  const answers = view.sequence === null ? {} : look.answers[view.sequence];
  $("answers").replaceChildren(...Object.entries(answers).map(([mark, output]) =>
    make("span", { title: DATA.marks[mark] || "" }, ...marks([mark]), output === null ? " is not in the context" : ` ${called(output)}`)));
}

/* Why an ablation cannot change a head's pattern, in words; '' where it can. */
function same(view, layer, name) {
  const done = ablationOf(view);
  if (view.kind === "pattern_preserving" && done.heads.length) return "patterns are held";
  if (layer > Math.min(...done.heads.map(([la]) => la), ...done.mlps)) return "";
  return view.heads.includes(name) ? "its output is removed, not its pattern" : "nothing before it is removed";
}

/* intact, ablated: [layers, heads, t, t], one after another; ablated null: nothing is. */
export function drawPatterns(view, intact, ablated) {
  const names = tokensOf(view).map((token) => token.name), cards = [];
  let moved = false; // whether a difference is drawn
  const of = (x, i) => x.subarray(i * t * t, (i + 1) * t * t);
  HEADS.forEach((name, i) => {
    if (view.head && view.head !== name) return;
    const big = Boolean(view.head), size = big ? (ablated ? 330 : 420) : 142, why = ablated ? same(view, Math.floor(i / across), name) : "";
    const sides = [[why ? "intact and ablated" : "intact", of(intact, i), "attention"]];
    if (ablated && !why) {
      const after = of(ablated, i);
      sides.push(["ablated", after, "attention"], ["difference", after.map((v, j) => v - intact[i * t * t + j]), "change"]);
      moved = true;
    }
    const figures = sides.map(([says, values, meaning]) =>
      make("figure", {}, pattern(t, values, names, meaning, size, big || t <= 9, `${name}, ${says}`), ablated || big ? make("figcaption", { textContent: says }) : null));
    const out = view.heads.includes(name);
    cards.push(make("button", { type: "button", className: "card" + (out ? " out" : ""), title: big ? "Back to all heads" : `Enlarge ${name}`, data: { set: "head", to: big ? "" : name } },
      make("strong", { textContent: name + (out ? " (ablated)" : "") }), make("div", { className: "sides" }, ...figures), why ? make("p", { className: "same", textContent: why }) : null));
  });
  const place = $("patterns"), compared = ablated !== null;
  place.className = "patterns" + (view.head ? " one" : "") + (compared ? " compared" : "") + (across > 4 ? " stacked" : "");
  place.style.gridTemplateColumns = across <= 8 && !view.head ? `repeat(${across}, minmax(0, 1fr))` : "";
  place.replaceChildren(...cards);
  const bar = (meaning, low, high, says) => {
    const ground = make("i");
    ground.style.background = gradient(meaning);
    return make("span", { className: "colours" }, low, ground, `${high} ${says}`);
  };
  const what = view.sequence === null ? EVALUATORS[view.evaluator].look.what : `${view.evaluator} sequence ${whole(view.sequence)}`;
  $("attention-note").replaceChildren(`Attention from rows to columns, ${what}. `, bar("attention", "0", "1", "attention"), moved ? bar("change", "−1", "+1", "difference (ablated − intact)") : "");
}

export function noPatterns() {
  $("patterns").replaceChildren();
  put($("attention-note"), "");
}
