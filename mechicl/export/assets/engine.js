/* What a worker computes: the number of every sequence, attention patterns, logits; intact and with parts taken out.

   The intact activations of what was looked at last are kept, and an ablation starts from them at its own layer. */

import { Arena } from "./arena.js";
import { bind, bytesOf, chunks, lastRows, run, sizeOf } from "./model.js";
import { ROWS, columnsOf, contributions, partsOf, probabilities, scored } from "./answers.js";

const KEPT = 96 * 2 ** 20; // bytes of intact activations
const MODELS = 6; // checkpoints whose parameters are kept

export class Engine {
  /* shape: of the model (shape.py); sets: evaluator -> its sequences; kernel: WebAssembly's bytes, or null. */
  constructor(shape, sets, kernel) {
    Object.assign(this, { shape, sets, models: new Map(), intacts: new Map() });
    this.arena = new Arena(kernel, bytesOf(shape, shape.parameters.reduce((sum, [, size]) => sum + size, 0), ROWS * (shape.width + shape.outputs)));
  }

  has(step) {
    return this.models.has(step);
  }

  /* Parameters of a checkpoint, float32, in the order of `shape.parameters`. */
  give(step, numbers) {
    this.models.set(step, numbers);
    while (this.models.size > MODELS) this.models.delete(this.models.keys().next().value);
  }

  /* Passes over stretches of a set: work(parameters, from, to) does each, and the memory is free again after it. */
  passes(step, stretches, work) {
    this.arena.reset();
    const p = bind(this.arena, this.shape, this.models.get(step)), used = this.arena.used;
    for (const [from, to] of stretches) {
      this.arena.used = used;
      work(p, from, to);
    }
  }

  /* The primary metric of every sequence. keep: the same checkpoint may be asked for again soon. */
  scores({ step, evaluator, ablation, keep }) {
    const { arena, shape } = this, set = this.sets[evaluator], out = new Float32Array(set.n);
    // Zeros need nothing of the intact model: where it is not kept either, one pass does.
    const known = keep || ablation?.kind !== "zero" ? this.intact(step, evaluator, keep) : null;
    const edit = ablation && editOf(ablation, shape, known, set.n), start = known && edit ? edit.start : -1;
    this.passes(step, chunks(set.n, shape), (p, from, to) => {
      let final = null;
      if (known && edit === null) final = known.final.subarray((known.final.length / set.n) * from, (known.final.length / set.n) * to);
      else run(arena, p, shape, set, from, to, { whole: !set.last, edit, start, known, each: (name, _, x) => name === "final" && (final = x) });
      out.set(scored(arena, p, shape, set, from, to, final), from);
    });
    return out;
  }

  /* Attention [layers, heads, t, t] of one sequence, or averaged over those of the set whose positions are alike. */
  patterns({ step, evaluator, sequence, ablation }) {
    const { arena, shape } = this, set = this.sets[evaluator], size = shape.heads * shape.positions ** 2;
    const rows = sequence === null ? set.aligned : [sequence], sum = new Float64Array(shape.layers * size);
    const known = this.intact(step, evaluator, true), edit = ablation && editOf(ablation, shape, known, set.n);
    if (edit) edit.heads[shape.layers - 1] = edit.mlps[shape.layers - 1] = null; // moves no pattern
    const each = (name, layer, x) => {
      if (name === "pattern") for (let i = 0; i < x.length; i++) sum[layer * size + (i % size)] += x[i];
    };
    this.passes(step, stretches(rows, sizeOf(shape)), (p, from, to) => run(arena, p, shape, set, from, to, { whole: true, edit, known, each }));
    return Float32Array.from(sum, (v) => v / rows.length);
  }

  /* Who adds what to which output's logit beside the mean logit, at the last position, and the outputs' probabilities.
     Of one sequence: `outputs` is a list, to which the `top` likeliest are added; of the average, a list [n] for each of
     its columns. Returns the columns, the parts' names, and of both sides {chances [columns], parts [parts][columns]}. */
  logits({ step, evaluator, sequence, ablation, outputs, top }) {
    const { arena, shape } = this, set = this.sets[evaluator], known = this.intact(step, evaluator, true);
    const edits = [null, ...(ablation ? [editOf(ablation, shape, known, set.n)] : [])], one = sequence !== null;
    const rows = one ? [[sequence, sequence + 1]] : chunks(set.n, shape), count = one ? 1 : set.n;
    const pass = (p, from, to, edit) => {
      const acts = {};
      run(arena, p, shape, set, from, to, { whole: !set.last, edit, known, each: (name, layer, x) => (acts[name + layer] = x) });
      const final = acts["final" + shape.layers], b = to - from;
      return [acts, probabilities(arena, p, shape, set.last ? final : lastRows(arena, final, b, shape.positions, shape.width), b)];
    };
    let columns = outputs;
    if (one) {
      const likely = [];
      for (const edit of edits)
        this.passes(step, rows, (p, from, to) => {
          const chances = pass(p, from, to, edit)[1];
          likely.push(...[...chances.keys()].sort((a, b) => chances[b] - chances[a]).slice(0, top));
        });
      columns = [...new Set([...outputs, ...likely])];
    }
    const sides = edits.map((edit) => {
      const side = { chances: columns.map(() => 0), parts: partsOf(shape).map(() => columns.map(() => 0)) };
      this.passes(step, rows, (p, from, to) => {
        const [acts, chances] = pass(p, from, to, edit);
        contributions(side, p, shape, acts, chances, one ? columns.map((y) => [y]) : columnsOf(columns, from, to), to - from);
      });
      return { chances: side.chances.map((v) => v / count), parts: side.parts.map((row) => row.map((v) => v / count)) };
    });
    return { columns, parts: partsOf(shape), sides };
  }

  /* Activations of the intact model on a whole set: x, z, mlp and pattern of every layer, and final. Of a set that is read
     at the last position alone, the last layer has that one. */
  intact(step, evaluator, keep) {
    const key = `${step} ${evaluator}`;
    let found = this.intacts.get(key);
    if (found) {
      this.intacts.delete(key); // and to the end: the one used last goes last
      this.intacts.set(key, found);
      return found;
    }
    const { arena, shape } = this, set = this.sets[evaluator];
    found = { x: [], z: [], mlp: [], pattern: [], final: null, bytes: 0, means: null };
    const whole = (x, from, to) => {
      const out = new Float32Array((x.length / (to - from)) * set.n);
      found.bytes += out.byteLength;
      return out;
    };
    this.passes(step, chunks(set.n, shape), (p, from, to) =>
      run(arena, p, shape, set, from, to, { whole: !set.last, each: (name, layer, x) => {
        const at = (x.length / (to - from)) * from;
        if (name === "final") (found.final ||= whole(x, from, to)).set(x, at);
        else if (["x", "z", "mlp", "pattern"].includes(name)) (found[name][layer] ||= whole(x, from, to)).set(x, at);
      } }));
    if (keep) {
      this.intacts.set(key, found);
      let bytes = [...this.intacts.values()].reduce((sum, each) => sum + each.bytes, 0);
      for (const [old, each] of this.intacts) {
        if (bytes <= KEPT || old === key) break;
        this.intacts.delete(old);
        bytes -= each.bytes;
      }
    }
    return found;
  }
}

/* An ablation {heads: [[layer, head], ...], mlps: [layer, ...], kind} as `run` takes it. start: the first layer that it
   changes, where a pass can begin. */
export function editOf({ heads, mlps, kind }, shape, known, n) {
  const edit = { heads: {}, mlps: {}, kind, known, means: null, held: HELD[kind] || "" };
  for (const [layer, head] of heads) (edit.heads[layer] ||= []).push(head);
  for (const layer of mlps) edit.mlps[layer] = true;
  edit.first = Math.min(...heads.map(([layer]) => layer));
  edit.start = Math.min(edit.first, ...mlps);
  if (kind === "mean") edit.means = known.means ||= known.z.map((z, layer) => ({ z: meanOf(z, n), mlp: shape.mlps[layer] && meanOf(known.mlp[layer], n) }));
  return edit;
}

const HELD = { pattern_preserving: "pattern", value_preserving: "v" };

/* The mean over n sequences, position by position. */
function meanOf(x, n) {
  const size = x.length / n, sum = new Float64Array(size);
  for (let i = 0; i < x.length; i++) sum[i % size] += x[i];
  return Float32Array.from(sum, (v) => v / n);
}

/* Runs of neighbours among rows, each as [from, to], so that a pass takes several at once. */
function stretches(rows, most) {
  const out = [];
  for (const row of rows) {
    const last = out[out.length - 1];
    if (last && last[1] === row && row - last[0] < most) last[1]++;
    else out.push([row, row + 1]);
  }
  return out;
}
