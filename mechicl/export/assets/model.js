/* The forward pass of mechicl's transformers (mechicl/engine/forward.py), with parts of the model taken out.

   Pre-LayerNorm blocks of causal attention, with or without an MLP; positions learned, sinusoidal or rotary. Legend:
   b sequences of a pass, t positions, h heads, k width of a head, d = h k. Activations are [b, t, d], rows of d. Where
   only the last position is asked for, the last layer has that one, and t is then 1. */

const EPS = 1e-5;
const MOST = 128, POSITIONS = 2048; // sequences and positions of a pass: what they need stays in the caches of a core

/* How many sequences a pass takes at most. */
export const sizeOf = (shape) => Math.max(1, Math.min(MOST, Math.floor(POSITIONS / shape.positions)));

/* How many bytes a pass takes at most. more: numbers that whoever asks for the pass needs besides. */
export function bytesOf(shape, parameters, more) {
  const size = sizeOf(shape), rows = size * shape.positions, layer = 14 * shape.width + shape.hidden + shape.heads * shape.positions;
  return 4 * (parameters + rows * (shape.layers * layer + 5 * shape.width + shape.inputs) + size * (shape.width + 2 * shape.outputs) + more) + 65536;
}

/* The parameters of a checkpoint by name, in this memory. numbers: all of them, one after another. */
export function bind(arena, shape, numbers) {
  const all = arena.put(numbers), found = {};
  let at = 0;
  for (const [name, size] of shape.parameters) found[name] = all.subarray(at, (at += size));
  return found;
}

/* Run some sequences of a set.

   from, to: which. whole: all positions in the last layer, too. edit: what is done (below), or null. start: the layer at
   whose z the pass begins, with what `known` has, the intact activations of all sequences of the set; -1: with embedding.
   each(name, layer, values): called with every activation, whose memory later passes take. 'x' goes into a layer; 'z' and
   'mlp' are as they were before the edit, 'heads' and 'mlps' as they are after it; 'residual' leaves the last layer.

   An edit: heads {layer: [head, ...]}, mlps {layer: true}, kind; first, the first layer with a head in it; held, what
   later layers keep of the intact model ('pattern', 'v' or ''); known, the intact activations, and means {layer: {z,
   mlp}} [t, d], their means over the set.*/
export function run(arena, p, shape, set, from, to, { whole = false, edit = null, start = -1, known = null, each }) {
  const b = to - from, d = shape.width, t = shape.positions;
  let x = start < 0 ? embed(arena, p, shape, set, from, to) : rowsOf(arena, known.x[start], from, to, t * d);
  for (let layer = Math.max(0, start); layer < shape.layers; layer++) {
    const last = layer === shape.layers - 1 && !whole, tq = last ? 1 : t, name = `blocks.${layer}`;
    each("x", layer, x);
    let z;
    if (layer === start) z = rowsOf(arena, known.z[layer], from, to, tq * d);
    else {
      const held = edit && layer > edit.first ? edit.held : "";
      z = attention(arena, p, shape, layer, x, b, tq, held, { known, from, to }, (pattern) => each("pattern", layer, pattern));
    }
    each("z", layer, z);
    const heads = edit?.heads[layer] || [], out = p[`${name}.attn.W_O`], k = d / shape.heads;
    const least = layer === start && layer + 1 < shape.layers && !shape.mlps[layer]; // what follows is known but for what these heads write
    const before = least ? arena.put(z) : null;
    for (const head of heads) replaceHead(z, shape, edit, layer, head, b, tq, from, set.n);
    each("heads", layer, z);
    const next = least ? rowsOf(arena, known.x[layer + 1], from, to, t * d) : last ? lastRows(arena, x, b, t, d) : arena.put(x);
    if (least) {
      for (let i = 0; i < z.length; i++) z[i] -= before[i];
      for (const head of heads) arena.gemm(z.subarray(head * k), d, out.subarray(head * k * d), d, next, d, b * tq, k, d, true);
    } else arena.gemm(z, d, out, d, next, d, b * tq, d, d, true);
    if (shape.mlps[layer]) {
      const added = mlp(arena, p, shape, name, next, b * tq);
      each("mlp", layer, added);
      if (edit?.mlps[layer]) replaceMlp(added, d, edit, layer, b, tq, from, set.n);
      each("mlps", layer, added);
      for (let i = 0; i < added.length; i++) next[i] += added[i];
    }
    x = next;
  }
  each("residual", shape.layers, x);
  const final = shape.norm ? layerNorm(arena, p, "ln_final", x, d) : x;
  each("final", shape.layers, final);
}

/* Stretches [from, to] of n sequences, each for one pass. */
export function chunks(n, shape) {
  const size = sizeOf(shape);
  return Array.from({ length: Math.ceil(n / size) }, (_, i) => [i * size, Math.min(n, (i + 1) * size)]);
}

const rowsOf = (arena, values, from, to, size) => arena.put(values.subarray(from * size, to * size));

export function lastRows(arena, x, b, t, d) {
  const out = arena.floats(b * d);
  for (let i = 0; i < b; i++) out.set(x.subarray(((i + 1) * t - 1) * d, (i + 1) * t * d), i * d);
  return out;
}

/* How sequences enter the residual stream: at each position a row of the table, or a linear map of what is shown. */
function embed(arena, p, shape, set, from, to) {
  const d = shape.width, t = shape.positions, b = to - from, out = arena.floats(b * t * d);
  const { table, weight, bias } = shape.input, i = shape.inputs, shown = [];
  for (let at = from * t; at < to * t; at++) {
    const token = set.tokens[at], row = (at - from * t) * d;
    if (token >= 0) out.set(p[table].subarray(token * d, (token + 1) * d), row);
    else shown.push([row, set.shown[at]]);
  }
  if (shown.length) {
    const inputs = arena.floats(shown.length * i), made = arena.floats(shown.length * d);
    shown.forEach(([, which], j) => inputs.set(set.inputs.subarray(which * i, (which + 1) * i), j * i));
    for (let j = 0; j < shown.length; j++) made.set(p[bias], j * d);
    arena.gemm(inputs, i, p[weight], d, made, d, shown.length, i, d, true);
    shown.forEach(([row], j) => out.set(made.subarray(j * d, (j + 1) * d), row));
  }
  const places = shape.places === "learned" ? p["pos_embed.W_pos"] : shape.sinusoids;
  if (places) for (let at = 0; at < out.length; at++) out[at] += places[at % (t * d)];
  return out;
}

function layerNorm(arena, p, name, x, d) {
  const w = p[`${name}.w`], bias = p[`${name}.b`], out = arena.floats(x.length);
  for (let at = 0; at < x.length; at += d) {
    let mean = 0, square = 0;
    for (let i = 0; i < d; i++) mean += x[at + i];
    mean /= d;
    for (let i = 0; i < d; i++) square += (x[at + i] - mean) * (x[at + i] - mean);
    const scale = 1 / Math.sqrt(square / d + EPS);
    for (let i = 0; i < d; i++) out[at + i] = (x[at + i] - mean) * scale * w[i] + bias[i];
  }
  return out;
}

/* z [b, tq, d]. held: 'pattern' or 'v', of the intact model, which `on` has. */
function attention(arena, p, shape, layer, x, b, tq, held, on, seen) {
  const d = shape.width, t = shape.positions, h = shape.heads, k = d / h, w = p[`blocks.${layer}.attn.W_QKV`];
  const normed = (values) => (shape.norm ? layerNorm(arena, p, `blocks.${layer}.ln1`, values, d) : values);
  const y = normed(x), asking = tq === t ? y : lastRows(arena, y, b, t, d);
  const q = arena.floats(b * tq * d), keys = arena.floats(b * t * d), v = arena.floats(b * t * d);
  arena.gemm(asking, d, w, 3 * d, q, d, b * tq, d, d);
  arena.gemm(y, d, w.subarray(d), 3 * d, keys, d, b * t, d, d);
  const read = held === "v" ? normed(rowsOf(arena, on.known.x[layer], on.from, on.to, t * d)) : y;
  arena.gemm(read, d, w.subarray(2 * d), 3 * d, v, d, b * t, d, d);
  if (shape.places === "rotary") {
    rotate(q, shape, b, tq, t - tq);
    rotate(keys, shape, b, t, 0);
  }
  const size = h * tq * t, pattern = held === "pattern" ? rowsOf(arena, on.known.pattern[layer], on.from, on.to, size) : arena.floats(b * size);
  if (held !== "pattern") softmaxed(pattern, q, keys, b, t, tq, h, k);
  seen(pattern);
  const z = arena.floats(b * tq * d);
  mixed(z, pattern, v, b, t, tq, h, k);
  return z;
}

/* What each head reads, z [b, tq, h, k]: values in the shares of its attention. */
function mixed(z, pattern, v, b, t, tq, h, k) {
  const d = h * k;
  for (let i = 0; i < b; i++)
    for (let a = 0; a < tq; a++)
      for (let head = 0; head < h; head++) {
        const row = ((i * h + head) * tq + a) * t, to = (i * tq + a) * d + head * k, of = i * t * d + head * k, see = a + t - tq;
        for (let j = 0; j < k; j++) {
          let sum = 0;
          for (let s = 0; s <= see; s++) sum += pattern[row + s] * v[of + s * d + j];
          z[to + j] = sum;
        }
      }
}

/* Each head's attention [b, h, tq, t], of queries to keys that are not after them. */
function softmaxed(pattern, q, keys, b, t, tq, h, k) {
  const d = h * k, scale = 1 / Math.sqrt(k);
  for (let i = 0; i < b; i++)
    for (let head = 0; head < h; head++)
      for (let a = 0; a < tq; a++) {
        const row = ((i * h + head) * tq + a) * t, asks = (i * tq + a) * d + head * k, see = a + t - tq;
        let most = -Infinity, sum = 0;
        for (let s = 0; s <= see; s++) {
          const key = (i * t + s) * d + head * k;
          let score = 0;
          for (let j = 0; j < k; j++) score += q[asks + j] * keys[key + j];
          pattern[row + s] = score *= scale;
          if (score > most) most = score;
        }
        for (let s = 0; s <= see; s++) sum += pattern[row + s] = Math.exp(pattern[row + s] - most);
        for (let s = 0; s < t; s++) pattern[row + s] = s <= see ? pattern[row + s] / sum : 0;
      }
}

/* Rotary positions, of pairs (i, i + k/2) of every head; the first row stands at position `first`. */
function rotate(x, shape, b, rows, first) {
  const d = shape.width, k = d / shape.heads, half = k / 2, { cos, sin } = shape.rotary;
  for (let i = 0; i < b * rows; i++) {
    const place = ((i % rows) + first) * k;
    for (let head = 0; head < d; head += k)
      for (let j = 0; j < half; j++) {
        const at = i * d + head + j, low = x[at], high = x[at + half];
        x[at] = low * cos[place + j] - high * sin[place + j];
        x[at + half] = high * cos[place + half + j] + low * sin[place + half + j];
      }
  }
}

function mlp(arena, p, shape, name, x, rows) {
  const d = shape.width, m = shape.hidden, y = shape.norm ? layerNorm(arena, p, `${name}.ln2`, x, d) : x;
  const inside = arena.floats(rows * m), out = arena.floats(rows * d);
  for (let i = 0; i < rows; i++) inside.set(p[`${name}.mlp.b_in`], i * m), out.set(p[`${name}.mlp.b_out`], i * d);
  arena.gemm(y, d, p[`${name}.mlp.W_in`], m, inside, m, rows, d, m, true);
  const active = shape.activation === "gelu_tanh" ? tanhGelu : gelu;
  for (let i = 0; i < inside.length; i++) inside[i] = active(inside[i]);
  arena.gemm(inside, m, p[`${name}.mlp.W_out`], d, out, d, rows, m, d, true);
  return out;
}

const tanhGelu = (x) => 0.5 * x * (1 + Math.tanh(0.7978845608028654 * (x + 0.044715 * x ** 3)));

/* The exact form. erf by Abramowitz and Stegun's 7.1.26, right to 1.5e-7. */
function gelu(x) {
  const y = Math.abs(x) * Math.SQRT1_2, s = 1 / (1 + 0.3275911 * y);
  const tail = s * (0.254829592 + s * (-0.284496736 + s * (1.421413741 + s * (-1.453152027 + s * 1.061405429)))) * Math.exp(-y * y);
  return 0.5 * x * (x < 0 ? tail : 2 - tail);
}

/* What takes the place of a head's output: 0, its mean over the set, or its value on the sequence before. */
function replaceHead(z, shape, edit, layer, head, b, tq, from, n) {
  const d = shape.width, k = d / shape.heads, all = edit.known?.z[layer], means = edit.means?.[layer]?.z;
  for (let i = 0; i < b; i++)
    for (let a = 0; a < tq; a++) {
      const at = (i * tq + a) * d + head * k;
      if (edit.kind === "mean") z.set(means.subarray(a * d + head * k, a * d + head * k + k), at);
      else if (edit.kind === "resample") {
        const other = ((((from + i - 1 + n) % n) * tq) + a) * d + head * k;
        z.set(all.subarray(other, other + k), at);
      } else z.fill(0, at, at + k);
    }
}

function replaceMlp(out, d, edit, layer, b, tq, from, n) {
  const size = tq * d, all = edit.known?.mlp[layer], means = edit.means?.[layer]?.mlp;
  for (let i = 0; i < b; i++) {
    const place = out.subarray(i * size, (i + 1) * size);
    if (edit.kind === "mean") place.set(means);
    else if (edit.kind === "resample") place.set(all.subarray(((from + i - 1 + n) % n) * size, ((from + i - 1 + n) % n + 1) * size));
    else place.fill(0);
  }
}
