/* The page: one view, what it asks the workers for, and in which order. Numbers come first: a click asks for them at
   once, everything else waits until they are shown. What an older view asked for is dropped. */

import { change, meanOf, whole } from "./numbers.js";
import { DATA, EVALUATORS, LAST, looked, seen } from "./data.js";
import { HEADS, MLPS, START, ablationOf, commandOf, indexOf, isDone, readView, settled, written } from "./state.js";
import { RANK, ask, scores } from "./pool.js";
import { $, all, choices, make, put, select } from "./dom.js";
import { drawCurves, followPointer } from "./curves.js";
import { doneText, drawControls, theme } from "./controls.js";
import { buildEffects, drawEffect, noEffects } from "./effects.js";
import { buildGrid, drawGrid } from "./heads.js";
import { repaint } from "./pattern.js";
import { drawPatterns, drawTokens, noPatterns } from "./attention.js";
import { drawLogits, logitsAsked, noLogits } from "./logits.js";

const names = DATA.evaluators.map((e) => e.name);
let view = { ...START }, turn = 0, playing = null, moved = 1;
let curve = { key: "", points: new Map() }; // under the ablation, step -> {evaluator: value}

const PANELS = ["effect", "grid", "look"]; // each says in data-shown which view its numbers are of
function upToDate(id, now) {
  $(id).dataset.shown = written(now) || "start";
  $(id).removeAttribute("aria-busy");
}

const say = (text) => put($("say"), text);

/* ---- what is computed ---- */

/* Everything of the view, numbers first. */
async function refresh() {
  const mine = ++turn, now = view, wanted = () => mine === turn, begun = performance.now(), ablation = ablationOf(now);
  drawControls(view);
  for (const id of PANELS) $(id).setAttribute("aria-busy", "true"); // what stands there is of another view
  try {
    await numbers(now, ablation, wanted);
    if (!wanted()) return;
    $("effect").dataset.ms = Math.round(performance.now() - begun);
    if (playing) playing = setTimeout(() => (indexOf(view) < LAST ? go(indexOf(view) + 1) : pause()), 160);
    await look(now, ablation, wanted);
    if (playing) return;
    await grid(now, wanted);
    if (wanted()) ahead(now, wanted);
    await curves(now, ablation, wanted);
    if (wanted()) document.body.dataset.done = written(now);
  } catch (error) {
    if (!wanted()) return;
    say(`This view could not be computed: ${error.message}`);
    noEffects(), noPatterns(), noLogits();
    for (const id of PANELS) $(id).removeAttribute("aria-busy");
  }
}

async function numbers(now, ablation, wanted) {
  const found = await Promise.all(names.map(async (name) => {
    const before = await scores(now.step, name, null, RANK.numbers, wanted);
    return [name, before, ablation && (await scores(now.step, name, ablation, RANK.numbers, wanted))];
  }));
  if (!wanted() || found.some(([, before]) => !before)) return;
  for (const [name, before, after] of found) drawEffect(name, before, after);
  put($("effect-where"), `step ${whole(now.step)} · ${whole(seen(now.step))} sequences`);
  put($("effect-note"), ablation ? "" : "Click a head below to see what changes without it.");
  $("effect").classList.toggle("none", !ablation);
  $("effect").dataset.step = now.step;
  upToDate("effect", now);
}

/* The open tab. */
async function look(now, ablation, wanted) {
  const { step, evaluator, sequence } = now;
  if (now.tab === "attention") {
    const [intact, ablated] = await Promise.all([null, ...(ablation ? [ablation] : [])].map((each) => ask("patterns", { step, evaluator, sequence, ablation: each }, RANK.look, wanted)));
    if (!wanted() || !intact) return;
    drawTokens(now);
    drawPatterns(now, intact, ablated || null);
  } else {
    const found = await ask("logits", { step, evaluator, sequence, ablation, ...logitsAsked(now) }, RANK.look, wanted);
    if (!wanted() || !found) return;
    drawLogits(now, found);
  }
  upToDate("look", now);
}

/* What every head changes that is not out already; the colours' range also has the intact model's at two checkpoints, so
   that it stays while one moves. */
async function grid(now, wanted) {
  const on = now.measure.replace("effect_", ""), parts = [...HEADS, ...(DATA.kinds[now.kind].plain ? MLPS : [])];
  const effects = async (of, rank) => {
    const before = await scores(of.step, on, ablationOf(of), rank, wanted);
    return Promise.all(parts.map(async (part) => {
      if (of.heads.includes(part) || of.mlp.includes(part) || !before) return [part, null];
      const after = await scores(of.step, on, ablationOf(of, [part]), rank, wanted);
      return [part, after && change(before, after, EVALUATORS[on].set.how.yes_or_no)];
    }));
  };
  const shown = Object.fromEntries(await effects(now, RANK.grid));
  if (!wanted()) return;
  const others = [];
  for (const step of new Set([DATA.first, DATA.steps[LAST]])) others.push(...(await effects({ ...now, step, heads: [], mlp: [] }, RANK.grid)).map(([, x]) => x));
  if (!wanted()) return;
  drawGrid(now, shown, others);
  upToDate("grid", now);
}

/* The next checkpoint the way one moves, before it is asked for. */
function ahead(now, wanted) {
  const step = DATA.steps[indexOf(now) + moved];
  if (step !== undefined) for (const name of names) scores(step, name, null, RANK.ahead, wanted).catch(() => {});
}

/* The curves under the ablation: ends, middle, quarters, and so on. */
async function curves(now, ablation, wanted) {
  const key = JSON.stringify(ablation);
  if (curve.key !== key) curve = { key, points: new Map() };
  if (!ablation) return put($("curve-progress"), "");
  const order = coarse().filter((step) => !curve.points.has(step));
  let drawn = 0;
  for (const step of order) {
    const found = await Promise.all(names.map((name) => scores(step, name, ablation, RANK.curve, wanted)));
    if (!wanted() || curve.key !== key || found.includes(null)) return;
    curve.points.set(step, Object.fromEntries(found.map((values, i) => [names[i], meanOf(values)])));
    put($("curve-progress"), `Dashed: ${doneText(now)}, ${whole(curve.points.size)} of ${whole(LAST + 1)} checkpoints.`);
    if (performance.now() - drawn > 250 || curve.points.size === LAST + 1) {
      drawCurves(view, curve.points);
      drawn = performance.now();
    }
  }
}

function coarse() {
  const order = new Set([LAST, 0]);
  for (let stride = 2 ** Math.ceil(Math.log2(LAST + 1)); stride > 1; ) {
    stride /= 2;
    for (let i = 0; i <= LAST; i += stride) order.add(i);
  }
  return [...order].map((i) => DATA.steps[i]);
}

/* ---- changing the view ---- */

function set(given) {
  const before = view;
  view = settled({ ...view, ...given });
  if (view.sequence !== null) view.sequence = Math.min(view.sequence, looked(view.evaluator) - 1);
  if (written(view) === written(before)) return;
  say("");
  remember(Object.keys(given).every((part) => part === "step"));
  if (view.axis !== before.axis || view.unit !== before.unit || JSON.stringify(ablationOf(view)) !== JSON.stringify(ablationOf(before)))
    drawCurves(view, JSON.stringify(ablationOf(view)) === curve.key ? curve.points : null);
  refresh();
}

/* The address holds the view: an entry of the browser's history for each change, one for moving through training. */
function remember(moves) {
  const hash = "#" + written(view);
  try {
    history[moves ? "replaceState" : "pushState"](null, "", hash);
  } catch {
    location.replace(hash); // this browser lets no page from a disk write its history
  }
}

function fromAddress() {
  const [found, trouble] = readView(location.hash);
  view = found;
  say(trouble);
  remember(true); // as the page writes it
  drawCurves(view, null);
  refresh();
}

function go(index) {
  const i = Math.max(0, Math.min(LAST, index));
  moved = i < indexOf(view) ? -1 : 1;
  set({ step: DATA.steps[i] });
}

const toggled = (list, item) => (list.includes(item) ? list.filter((x) => x !== item) : [...list, item]);
const ordered = (heads) => HEADS.filter((h) => heads.includes(h));

function press(part, alone) {
  if (MLPS.includes(part)) return set({ mlp: MLPS.filter((layer) => toggled(view.mlp, part).includes(layer)), kind: DATA.kinds[view.kind].plain ? view.kind : "zero" });
  if (!alone) return set({ heads: ordered(toggled(view.heads, part)) });
  const rest = HEADS.filter((h) => h.split("H")[0] === part.split("H")[0] && h !== part);
  set({ heads: rest.length === view.heads.length && rest.every((h) => view.heads.includes(h)) ? [] : rest });
}

function pressLayer(layer) {
  const its = HEADS.filter((h) => h.startsWith(`L${layer}H`)), whole = its.every((h) => view.heads.includes(h));
  set({ heads: ordered(whole ? view.heads.filter((h) => !its.includes(h)) : [...view.heads, ...its]) });
}

const clear = () => set({ heads: [], mlp: [] });

function pause() {
  clearTimeout(playing);
  playing = null;
  put($("play"), "▶");
  $("play").setAttribute("aria-label", "Play");
  refresh();
}

function play() {
  if (playing) return pause();
  put($("play"), "❚❚");
  $("play").setAttribute("aria-label", "Pause");
  playing = setTimeout(() => go(indexOf(view) < LAST ? indexOf(view) + 1 : 0), 0);
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    say(done);
  } catch {
    say(text); // no clipboard here: shown, to copy by hand
  }
}

const ACTS = {
  play, clear, back: () => go(indexOf(view) - 1), next: () => go(indexOf(view) + 1), theme: () => (theme(true), repaint()),
  link: () => copy(location.href, "The link is copied."),
  command: () => copy(commandOf(view), "The command is copied. In it, RUN stands for the run's folder."),
  skip: () => $("grid").querySelector('button[tabindex="0"]').focus(),
};

/* ---- what people do ---- */

/* A sequence by its number: of those that are here, the nearest one, and that is said. */
function choose(field) {
  const last = looked(view.evaluator) - 1, asked = field.value === "" ? null : Math.round(Number(field.value));
  const sequence = asked === null ? null : Math.max(0, Math.min(last, asked)), { short, set: { n } } = EVALUATORS[view.evaluator];
  set({ sequence });
  field.value = sequence ?? ""; // it has the focus still, and would go on naming another one
  if (sequence !== asked) say(`${short}: this file holds sequences 0 to ${whole(last)}` + (n > last + 1 ? ` of ${whole(n)}.` : "."));
}

function listen() {
  document.addEventListener("click", (event) => {
    const hit = event.target.closest("[data-part],[data-layer],[data-set][data-to],[data-do]");
    if (!hit) return;
    const d = hit.dataset;
    if (d.part !== undefined) press(d.part, event.shiftKey);
    else if (d.layer !== undefined) pressLayer(d.layer);
    else if (d.do !== undefined) ACTS[d.do]();
    else set({ [d.set]: d.set === "sequence" ? null : d.to });
  });
  document.addEventListener("change", ({ target }) => {
    if (target.matches("select[data-set]")) set({ [target.dataset.set]: target.value });
    if (target.id === "sequence-input") choose(target);
  });
  document.addEventListener("input", ({ target }) => target.id === "slider-input" && go(Number(target.value)));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const t = event.target, typing = t.matches("select,textarea,[type=number]"), moves = { ArrowLeft: -1, ArrowRight: 1, ",": -1, ".": 1 };
    if (t.matches("[data-part]") && event.shiftKey && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      return press(t.dataset.part, true);
    }
    if (!typing && event.key in moves) {
      event.preventDefault();
      go(indexOf(view) + moves[event.key]);
    } else if (event.key === " " && !typing && !t.closest("button,a,summary")) {
      event.preventDefault();
      play();
    } else if (event.key === "Escape" && !typing && isDone(view)) clear();
  });
  addEventListener("hashchange", fromAddress);
  new ResizeObserver(() => drawCurves(view, curve.points)).observe($("graph"));
  followPointer(go, () => (isDone(view) ? curve.points : null));
}

function build() {
  put($("facts"), DATA.facts);
  put($("version"), DATA.version);
  $("slider-input").max = LAST;
  const labels = Object.fromEntries(DATA.evaluators.map((e) => [e.name, e.label]));
  $("timeline-controls").append(choices("axis", "Axis", { log: "log", linear: "linear" }), choices("unit", "Time in", { sequences: "sequences", steps: "steps" }));
  $("heads-controls").append(select("measure", "Colour by", Object.fromEntries(DATA.evaluators.map((e) => [`effect_${e.name}`, `effect on ${e.short} of ablating it alone`]))));
  $("kind-controls").prepend(select("kind", "kind", Object.fromEntries(Object.keys(DATA.kinds).map((kind) => [kind, kind.replaceAll("_", " ")]))));
  $("tabs").append(choices("tab", "Look closer", { attention: "Attention", logits: "Logits" }));
  $("pick").append(select("evaluator", "of", labels));
  $("show").append(select("head", "Show", { "": "all heads", ...Object.fromEntries(HEADS.map((h) => [h, h])) }));
  put($("marks-note"), Object.entries(DATA.marks).map(([name, meaning]) => `‘${name}’ is ${meaning}`).join("; ").replace(/.$/, "$&."));
  $("without").append(...DATA.without.map((textContent) => make("li", { textContent })));
  const needs = ({ favours }) => (favours === "both" ? "" : ` A good score needs the ${favours}.`);
  $("evaluators").append(...DATA.evaluators.map((e) => make("li", { textContent: `${e.short}: ${e.explained}.${needs(e)}` })));
  buildEffects();
  buildGrid();
}

theme(false);
build();
listen();
fromAddress();
document.body.dataset.ready = "yes";
