/* What the model answers: the number of every sequence, probabilities, and who adds what to a logit.

   The same as the tasks' scores (mechicl/protocol/shipped.py says how they are shipped) and mechicl/measures/attribution.py. */

const EPS = 1e-5;
export const ROWS = 256; // positions whose logits are computed at once

/* The numbers of sequences from..to. final: at every position, or, where a set is read at the last one alone, there. */
export function scored(arena, p, shape, set, from, to, final) {
  const d = shape.width, t = shape.positions, { how } = set, out = how.offset.slice(from, to), each = set.last ? 1 : t;
  const first = below(how.at, from * t), end = below(how.at, to * t), x = arena.floats(ROWS * d), z = arena.floats(ROWS * shape.outputs);
  for (let start = first; start < end; start += ROWS) {
    const rows = Math.min(ROWS, end - start);
    for (let i = 0; i < rows; i++) {
      const at = set.last ? Math.floor(how.at[start + i] / t) - from : how.at[start + i] - from * each;
      x.set(final.subarray(at * d, (at + 1) * d), i * d);
    }
    if (how.term !== "right" || !how.among) logitsInto(arena, p, shape, x, z, rows);
    for (let i = 0; i < rows; i++) {
      const row = start + i, said = z.subarray(i * shape.outputs, (i + 1) * shape.outputs);
      const term = how.term === "right" ? Number(likeliest(p, shape, how, row, said, x.subarray(i * d, (i + 1) * d)) === how.target[row]) : logarithms(how, row, said);
      out[Math.floor(how.at[row] / t) - from] += how.weight[row] * (how.term === "more" ? Number(term > how.bound[row]) : term);
    }
  }
  return out;
}

/* The first place of a list in order that is not below a number. */
function below(list, number) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/* The likeliest output: of all, or of those that a row names, for which a few products do. */
function likeliest(p, shape, how, row, said, final) {
  let best = -1, most = -Infinity;
  if (!how.among) {
    for (let y = 0; y < said.length; y++) if (said[y] > most) (most = said[y]), (best = y);
    return best;
  }
  const c = how.among.length / how.at.length, v = shape.outputs, w = p["unembed.W_U"], bias = p["unembed.b_U"];
  for (let j = 0; j < c; j++) {
    const y = how.among[row * c + j];
    let z = bias[y];
    for (let k = 0; k < final.length; k++) z += final[k] * w[k * v + y];
    if (z > most) (most = z), (best = y);
  }
  return best;
}

/* The sum of share x log q over the outputs of a row. */
function logarithms(how, row, said) {
  const c = how.share.length / how.at.length;
  let most = -Infinity, total = 0, sum = 0, shares = 0;
  for (let y = 0; y < said.length; y++) if (said[y] > most) most = said[y];
  for (let y = 0; y < said.length; y++) total += Math.exp(said[y] - most);
  for (let j = 0; j < c; j++) {
    const share = how.share[row * c + j];
    sum += share * said[how.outputs ? how.outputs[row * c + j] : j];
    shares += share;
  }
  return sum - shares * (most + Math.log(total));
}

function logitsInto(arena, p, shape, final, z, b) {
  const v = shape.outputs;
  for (let i = 0; i < b; i++) z.set(p["unembed.b_U"], i * v);
  arena.gemm(final, shape.width, p["unembed.W_U"], v, z, v, b, shape.width, v, true);
}

/* Softmax over all outputs [b, v]. */
export function probabilities(arena, p, shape, final, b) {
  const v = shape.outputs, z = arena.floats(b * v);
  logitsInto(arena, p, shape, final, z, b);
  for (let i = 0; i < b; i++) {
    const row = z.subarray(i * v, (i + 1) * v);
    let most = -Infinity, sum = 0;
    for (const x of row) if (x > most) most = x;
    for (let y = 0; y < v; y++) sum += row[y] = Math.exp(row[y] - most);
    for (let y = 0; y < v; y++) row[y] /= sum;
  }
  return z;
}

/* Everything that is added to the residual stream, in order; 'bias' is the final LayerNorm's and the unembedding's. */
export function partsOf(shape) {
  const out = ["embed"];
  for (let layer = 0; layer < shape.layers; layer++) {
    for (let head = 0; head < shape.heads; head++) out.push(`L${layer}H${head}`);
    if (shape.mlps[layer]) out.push(`L${layer} MLP`);
  }
  return [...out, "bias"];
}

export const columnsOf = (columns, from, to) => columns.map((outputs) => outputs.slice(from, to));

/* Add to a side's sums what every part contributes to the logits of columns [column][b], beside the mean logit, and the
   columns' probabilities. acts: of one pass over b sequences, by name and layer. */
export function contributions(side, p, shape, acts, chances, columns, b) {
  const d = shape.width, v = shape.outputs, k = d / shape.heads, w = p["unembed.W_U"], bias = p["unembed.b_U"];
  const middle = new Float64Array(d), residual = acts["residual" + shape.layers];
  for (let i = 0; i < d; i++) for (let y = 0; y < v; y++) middle[i] += w[i * v + y] / v;
  const constant = bias.reduce((sum, x) => sum + x, 0) / v, t = shape.positions;
  const direction = new Float64Array(d);
  for (let i = 0; i < b; i++)
    columns.forEach((outputs, column) => {
      const y = outputs[i];
      side.chances[column] += chances[i * v + y];
      let fixed = bias[y] - constant;
      for (let j = 0; j < d; j++) direction[j] = w[j * v + y] - middle[j];
      if (shape.norm) fixed += through(direction, p, lastOf(residual, i, b, d));
      const add = (part, value) => (side.parts[part][column] += value);
      let part = 0;
      add(part++, dot(acts.x0.subarray((i * t + t - 1) * d, (i + 1) * t * d), direction));
      for (let layer = 0; layer < shape.layers; layer++) {
        const z = lastOf(acts["heads" + layer], i, b, d), out = p[`blocks.${layer}.attn.W_O`];
        for (let head = 0; head < shape.heads; head++) {
          let sum = 0;
          for (let j = head * k; j < (head + 1) * k; j++) sum += z[j] * dot(out.subarray(j * d, (j + 1) * d), direction);
          add(part++, sum);
        }
        if (shape.mlps[layer]) add(part++, dot(lastOf(acts["mlps" + layer], i, b, d), direction));
      }
      add(part, fixed);
    });
}

/* A direction in front of the final LayerNorm, whose scale is held at its value on this sequence; returns what its bias
   adds. */
function through(direction, p, residual) {
  const d = residual.length, w = p["ln_final.w"], bias = p["ln_final.b"];
  let fixed = 0, mean = 0, centre = 0, square = 0;
  for (let j = 0; j < d; j++) {
    fixed += direction[j] * bias[j];
    direction[j] *= w[j];
    centre += direction[j] / d;
    mean += residual[j] / d;
  }
  for (let j = 0; j < d; j++) square += (residual[j] - mean) ** 2 / d;
  for (let j = 0; j < d; j++) direction[j] = (direction[j] - centre) / Math.sqrt(square + EPS);
  return fixed;
}

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < b.length; i++) sum += a[i] * b[i];
  return sum;
}

/* The last position of sequence i, of an activation that may have that position only. */
export function lastOf(x, i, b, d) {
  const size = x.length / b;
  return x.subarray((i + 1) * size - d, (i + 1) * size);
}
