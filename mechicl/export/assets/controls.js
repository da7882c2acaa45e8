/* What is shown of a view at once, before anything is computed. */

import { whole } from "./numbers.js";
import { DATA, EVALUATORS, LAST, looked, seen } from "./data.js";
import { MLPS, commandOf, indexOf, isDone } from "./state.js";
import { $, all, put } from "./dom.js";
import { moveCursor } from "./curves.js";
import { drawPressed } from "./heads.js";

/* What is done to the model, in words. */
export const doneText = (of) => `${of.kind.replaceAll("_", " ")} ablation of ${[...of.heads, ...of.mlp.map((layer) => `L${layer} MLP`)].join(" ")}`;

/* Every control as the view has it, and what is said of the view. */
export function drawControls(view) {
  const i = indexOf(view), slider = $("slider-input"), where = `step ${whole(view.step)} · ${whole(seen(view.step))} sequences`;
  slider.value = i;
  slider.style.setProperty("--at", `${(100 * i) / Math.max(1, LAST)}%`);
  slider.setAttribute("aria-valuetext", where);
  put($("where"), `${where} · ${whole(i + 1)} of ${whole(LAST + 1)}`);
  for (const button of all("[data-set][data-to]")) button.setAttribute("aria-pressed", String(String(view[button.dataset.set] ?? "") === button.dataset.to));
  for (const choice of all("select[data-set]")) choice.value = view[choice.dataset.set] ?? "";
  all('select[data-set="kind"] option').forEach((option) => (option.disabled = view.mlp.length > 0 && !DATA.kinds[option.value].plain));
  drawPressed(view);
  const done = isDone(view), out = [...view.heads, ...view.mlp.map((layer) => `L${layer} MLP`)];
  put($("ablated-now"), done ? `${out.join(" ")} ablated` : "Nothing is ablated: click a head.");
  $("ablated-now").classList.toggle("some", done);
  all('[data-do="clear"]').forEach((button) => (button.hidden = !done));
  put($("kind-note"), DATA.kinds[view.kind].meaning);
  put($("baseline-note"), `Baseline: ${DATA.kinds[view.kind].baseline}. Applied to a head's output before W_O${MLPS.length ? ", and to what an MLP adds" : ""}.`);
  const measured = EVALUATORS[view.measure.replace("effect_", "")];
  put($("measure-note"), `${measured.label}: ${DATA.quantity} without this head minus with it, on the same sequences. Below 0, the head helped; above 0, it did harm. ` +
    `In ${done ? "the model as it is ablated" : "the intact model"}; kind: ${view.kind.replaceAll("_", " ")}.`);
  for (const region of all("[data-tab]")) region.hidden = region.dataset.tab !== view.tab;
  const sequence = $("sequence-input");
  sequence.max = looked(view.evaluator) - 1;
  sequence.placeholder = `0–${sequence.max}`;
  if (document.activeElement !== sequence) sequence.value = view.sequence ?? "";
  put($("command"), commandOf(view));
  moveCursor(view);
}

/* Light, dark, or as the system says. */
export function theme(turnOver) {
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme || (dark ? "dark" : "light");
  root.dataset.theme = turnOver ? (now === "dark" ? "light" : "dark") : now;
}
