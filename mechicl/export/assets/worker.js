/* One worker: it is told once of the model and the sequences, then answers one question after another. */

import { Engine } from "./engine.js";
import { halves } from "./numbers.js";

let engine = null;

self.onmessage = ({ data }) => {
  if (data.begin) {
    engine = new Engine(data.shape, data.sets, data.kernel);
    return;
  }
  const { id, what, question, weights } = data;
  try {
    if (weights) engine.give(question.step, halves(weights));
    if (!engine.has(question.step)) return self.postMessage({ id, wants: question.step });
    self.postMessage({ id, answer: engine[what](question) });
  } catch (error) {
    self.postMessage({ id, error: String(error) });
  }
};
