/* The grid of heads: a row per layer, its name, its heads and its MLP. One stop of the Tab key; arrows go on inside. */

import { interval, plain, signed } from "./numbers.js";
import { DATA, EVALUATORS } from "./data.js";
import { $, all, fitted, gradient, make, put, shade } from "./dom.js";
import { HEADS, MLPS } from "./state.js";

const { layers, heads: across } = DATA.shape;
const ACROSS = 12; // heads: with more, rows wrap, and what stands above the first row is not above the second

export function buildGrid() {
  const grid = $("grid"), button = (id, name, more) =>
    make("button", { type: "button", className: "head" + more, tabIndex: -1, data: { part: id }, aria: { pressed: "false" } },
      make("small", { textContent: name }), make("span", { className: "score", textContent: "–" }));
  grid.style.setProperty("--heads", across + (MLPS.length ? 1 : 0));
  const names = [...Array(across).keys()].map((h) => `head ${h}`).concat(MLPS.length ? ["MLP"] : []);
  if (across <= ACROSS)
    grid.append(make("div", { className: "names", aria: { hidden: "true" } }, make("span"),
      make("div", { className: "heads" }, ...names.map((textContent) => make("span", { className: "across", textContent })))));
  for (let layer = 0; layer < layers; layer++) {
    const cells = HEADS.slice(layer * across, (layer + 1) * across).map((name) => button(name, name, ""));
    if (MLPS.includes(String(layer))) cells.push(button(String(layer), `L${layer} MLP`, " mlp"));
    const says = `Ablate every head of layer ${layer}; if all are ablated, put them back`;
    grid.append(make("div", { className: "row" }, make("button", { type: "button", className: "layer", textContent: `layer ${layer}`, title: says, tabIndex: -1, data: { layer: String(layer) } }),
      make("div", { className: "heads" }, ...cells)));
  }
  stand(grid.querySelector("[data-part]"));
  grid.addEventListener("focusin", (event) => event.target.closest("button") && stand(event.target.closest("button")));
  grid.addEventListener("keydown", (event) => {
    const from = event.target.closest("button");
    if (!from || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = beside(from, event.key);
    if (!to) return;
    event.preventDefault();
    event.stopPropagation(); // arrows move in the grid, not through training
    to.focus();
  });
}

function stand(button) {
  all("#grid button[tabindex='0']").forEach((other) => (other.tabIndex = -1));
  button.tabIndex = 0;
}

/* Where a key leads from a button: along its row, or to the next row's same place. */
function beside(button, key) {
  const rows = all("#grid .row").map((row) => all("button", row));
  const r = rows.findIndex((row) => row.includes(button)), c = rows[r].indexOf(button), end = rows[r].length - 1;
  const clamp = (x, most) => Math.max(0, Math.min(most, x));
  const to = { Home: [r, 0], End: [r, end], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], ArrowUp: [r - 1, c], ArrowDown: [r + 1, c] }[key];
  if (!to) return null;
  const row = rows[clamp(to[0], rows.length - 1)];
  return row[clamp(to[1], row.length - 1)];
}

/* What is clicked, at once. */
export function drawPressed(view) {
  for (const button of all("#grid [data-part]")) {
    const id = button.dataset.part, out = view.heads.includes(id) || view.mlp.includes(id);
    button.setAttribute("aria-pressed", String(out));
    button.dataset.out = out ? "ablated" : "intact";
  }
}

/* effects: part -> a change with its interval, or null where there is none; range: the colours' limit. */
export function drawGrid(view, effects, others) {
  const name = EVALUATORS[view.measure.replace("effect_", "")].short;
  const limit = fitted([...Object.values(effects), ...others].filter(Boolean).map((x) => x.value), 0.02);
  for (const button of all("#grid [data-part]")) {
    const found = effects[button.dataset.part], score = button.querySelector(".score"), said = button.querySelector("small").textContent;
    const [ground, ink] = found ? shade("effect", 0.5 + found.value / (2 * limit)) : ["transparent", "var(--ink)"];
    put(score, found ? signed(found.value, 2) : "–");
    button.classList.toggle("clear", Boolean(found) && (found.low > 0 || found.high < 0));
    button.style.setProperty("--ground", ground);
    button.style.setProperty("--ink-here", ink);
    const effect = found ? `; without it ${name} changes by ${signed(found.value)} ${interval(found, signed)}, n = ${found.n}` : "";
    button.title = `${said}${effect}. Click to ablate` + (button.classList.contains("mlp") ? "." : "; shift-click for only this head.");
    button.setAttribute("aria-label", `${said}, ${button.dataset.out}${effect}`);
  }
  const ground = make("i");
  ground.style.background = gradient("effect");
  $("scale").replaceChildren(make("span", { className: "legend" }, make("span", { className: "colours" }, `−${plain(limit, limit < 0.1 ? 2 : 1)}`, ground, `+${plain(limit, limit < 0.1 ? 2 : 1)}`),
    `change in ${DATA.quantity}, n = ${EVALUATORS[view.measure.replace("effect_", "")].set.n.toLocaleString("en")} sequences; framed: the interval excludes 0`));
}
