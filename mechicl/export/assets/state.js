/* What is on the page, as one plain object, to and from the part of the address after '#'. The parts have the names and
   the texts of `mechicl app` (mechicl/page/state.py). A link may come from anyone: what it says is checked, and a part
   that is none is left out and named. */

import { DATA, EVALUATORS, LAST, looked } from "./data.js";

const { layers, heads: across, mlps } = DATA.shape;
const MEASURES = DATA.evaluators.map((e) => `effect_${e.name}`);
const every = [...Array(layers * across).keys()].map((i) => `L${Math.floor(i / across)}H${i % across}`);
export const HEADS = every;
export const MLPS = mlps.flatMap((has, layer) => (has ? [String(layer)] : []));

export const START = {
  step: DATA.first, heads: [], mlp: [], kind: "zero", evaluator: DATA.leading, measure: `effect_${DATA.leading}`,
  sequence: null, head: "", axis: "log", unit: "sequences", tab: "attention",
};

const oneOf = (...names) => (text) => (names.includes(text) ? text : undefined);
const listOf = (names) => (text) => {
  const given = text.split(",").filter(Boolean);
  return given.every((x) => names.includes(x)) ? names.filter((x) => given.includes(x)) : undefined;
};
const READ = {
  step: (text) => (DATA.steps.includes(Number(text)) ? Number(text) : undefined),
  heads: listOf(every),
  mlp: listOf(MLPS),
  kind: oneOf(...Object.keys(DATA.kinds)),
  evaluator: oneOf(...Object.keys(EVALUATORS)),
  measure: oneOf(...MEASURES),
  sequence: (text) => (/^\d{1,9}$/.test(text) ? Number(text) : undefined),
  head: oneOf("", ...every),
  axis: oneOf("log", "linear"),
  unit: oneOf("sequences", "steps"),
  tab: oneOf("attention", "logits"),
};

/* [the view, a sentence on what the address says that cannot be shown, or ''] */
export function readView(hash) {
  const view = { ...START }, wrong = [];
  for (const part of hash.replace(/^#/, "").split("&").filter(Boolean)) {
    const [key, ...rest] = part.split("="), text = decoded(rest.join("="));
    const value = Object.hasOwn(READ, key) ? READ[key](text) : undefined;
    if (value === undefined) wrong.push(`${decoded(key)}=${text}`.slice(0, 60));
    else view[key] = value;
  }
  if (view.sequence !== null && view.sequence >= looked(view.evaluator)) {
    wrong.push(`sequence=${view.sequence} (this file has 0 to ${looked(view.evaluator) - 1})`);
    view.sequence = null;
  }
  return [settled(view), wrong.length ? `The link names what this file has not: ${wrong.join("; ")}.` : ""];
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/* The text after '#'; what is as at the start is left out. */
export function written(view) {
  return Object.keys(START)
    .filter((key) => String(view[key]) !== String(START[key]))
    .map((key) => `${key}=${view[key] ?? ""}`)
    .join("&");
}

/* MLPs have no kind that is for heads. */
export function settled(view) {
  return view.mlp.length && !DATA.kinds[view.kind].plain ? { ...view, kind: "zero" } : view;
}

/* What is taken out, as the engine takes it; null: nothing. more: heads or MLPs besides. */
export function ablationOf(view, more = []) {
  const heads = HEADS.filter((h) => view.heads.includes(h) || more.includes(h)).map((h) => h.slice(1).split("H").map(Number));
  const out = MLPS.filter((layer) => view.mlp.includes(layer) || more.includes(layer)).map(Number);
  return heads.length || out.length ? { heads, mlps: out, kind: view.kind } : null;
}

export const isDone = (view) => view.heads.length > 0 || view.mlp.length > 0;

/* The command that computes the same with Python. RUN: the run's folder, which this file does not know. */
export function commandOf(view) {
  const done = [["heads", view.heads], ["mlp", view.mlp]].filter(([, list]) => list.length).map(([name, list]) => ` --${name} ${list.join(",")}`);
  return done.length ? `mechicl ablate RUN${done.join("")} --kind ${view.kind} --step ${view.step}${DATA.size}` : "mechicl show RUN";
}

export const indexOf = (view) => Math.max(0, Math.min(LAST, DATA.steps.indexOf(view.step)));
