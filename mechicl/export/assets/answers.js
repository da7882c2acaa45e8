/* What the model answers at the last position: right or wrong, probabilities, and who adds what to a logit.

   The same as mechicl/tasks/exemplar_label/scores.py and mechicl/measures/attribution.py. */

const EPS = 1e-5;

/* Right (1) or wrong (0) of sequences from..to. Where a set has choices, the answer is the likeliest of them. */
export function correct(arena, p, shape, set, from, to, final) {
  const b = to - from, bits = new Uint8Array(b);
  if (!set.choices) {
    const z = logitsOf(arena, p, shape, final, b), v = shape.outputs;
    for (let i = 0; i < b; i++) {
      let best = 0;
      for (let y = 1; y < v; y++) if (z[i * v + y] > z[i * v + best]) best = y;
      bits[i] = best === set.target[from + i];
    }
    return bits;
  }
  const c = set.choices.length / set.n, d = shape.width, v = shape.outputs, w = p["unembed.W_U"], bias = p["unembed.b_U"];
  for (let i = 0; i < b; i++) {
    let best = -1, most = -Infinity;
    for (let j = 0; j < c; j++) {
      const y = set.choices[(from + i) * c + j];
      let z = bias[y];
      for (let k = 0; k < d; k++) z += final[i * d + k] * w[k * v + y];
      if (z > most) (most = z), (best = y);
    }
    bits[i] = best === set.target[from + i];
  }
  return bits;
}

function logitsOf(arena, p, shape, final, b) {
  const v = shape.outputs, z = arena.floats(b * v);
  for (let i = 0; i < b; i++) z.set(p["unembed.b_U"], i * v);
  arena.gemm(final, shape.width, p["unembed.W_U"], v, z, v, b, shape.width, v, true);
  return z;
}

/* Softmax over all outputs [b, v]. */
export function probabilities(arena, p, shape, final, b) {
  const v = shape.outputs, z = logitsOf(arena, p, shape, final, b);
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
export function contributions(side, p, shape, acts, chances, columns) {
  const d = shape.width, v = shape.outputs, k = d / shape.heads, w = p["unembed.W_U"], bias = p["unembed.b_U"];
  const middle = new Float64Array(d), residual = acts["residual" + shape.layers], b = residual.length / d;
  for (let i = 0; i < d; i++) for (let y = 0; y < v; y++) middle[i] += w[i * v + y] / v;
  const constant = bias.reduce((sum, x) => sum + x, 0) / v, t = shape.positions;
  const direction = new Float64Array(d);
  for (let i = 0; i < b; i++)
    columns.forEach((outputs, column) => {
      const y = outputs[i];
      side.chances[column] += chances[i * v + y];
      let fixed = bias[y] - constant;
      for (let j = 0; j < d; j++) direction[j] = w[j * v + y] - middle[j];
      if (shape.norm) fixed += through(direction, p, residual.subarray(i * d, (i + 1) * d));
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
function lastOf(x, i, b, d) {
  const size = x.length / b;
  return x.subarray((i + 1) * size - d, (i + 1) * size);
}
