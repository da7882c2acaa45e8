/* What the file holds: everything but the weights as JSON, and of each checkpoint its weights, float16, as base64. */

import { bytes } from "./numbers.js";

export const DATA = JSON.parse(document.getElementById("data").textContent);
export const EVALUATORS = Object.fromEntries(DATA.evaluators.map((e) => [e.name, e]));
export const LAST = DATA.steps.length - 1;

const numbersOf = (text, Kind) => text === null ? null : new Kind(bytes(text).buffer);

/* How sequences are scored (mechicl/protocol/shipped.py, Scored). */
const scoredOf = (how) => ({
  term: how.term,
  ...Object.fromEntries(["at", "target", "among", "outputs"].map((key) => [key, numbersOf(how[key], Int32Array)])),
  ...Object.fromEntries(["weight", "offset", "share", "bound"].map((key) => [key, numbersOf(how[key], Float32Array)])),
});

/* Sequences as the model reads them (model.js); last: whether they are read at the last position alone. */
export const SETS = Object.fromEntries(
  DATA.evaluators.map(({ name, set, look }) => {
    const how = scoredOf(set.how), t = DATA.shape.positions;
    return [name, {
      n: set.n,
      tokens: numbersOf(set.tokens, Int32Array),
      shown: numbersOf(set.shown, Int32Array),
      inputs: numbersOf(set.inputs, Float32Array),
      how,
      last: how.at.every((at) => at % t === t - 1),
      aligned: [...numbersOf(look.aligned, Int32Array)],
    }];
  }),
);
/* What an output is called. */
export const called = (output) => (DATA.outputs ? DATA.outputs[output] : `${DATA.answer} ${output}`);
export const COLUMNS = Object.fromEntries(
  DATA.evaluators.map(({ name, look }) => [name, look.columns.map((c) => [...numbersOf(c.outputs, Int32Array)])]),
);
export const KERNEL = bytes(DATA.kernel);

/* How many sequences of an evaluator can be looked at one by one. */
export const looked = (evaluator) => EVALUATORS[evaluator].look.sequences.length;

/* A checkpoint's parameters, float16. */
export const weightsOf = (step) => bytes(document.getElementById(`w-${step}`).textContent).buffer;

export const seen = (step) => DATA.sequences[DATA.steps.indexOf(step)];
