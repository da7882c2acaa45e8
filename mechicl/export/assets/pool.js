/* Workers, and the questions that wait for them. A question has a rank: what a reader waits for goes first. An evaluator
   has its own worker, which then keeps what it needs. A question that nobody wants any more is dropped when its turn
   comes, and its answer is then null. */

import { DATA, KERNEL, SETS, weightsOf } from "./data.js";

export const RANK = { numbers: 0, look: 1, grid: 2, ahead: 3, curve: 4 };
const KEPT = 8000; // answers, of a number for each sequence
const names = DATA.evaluators.map((e) => e.name);

const source = URL.createObjectURL(new Blob([document.getElementById("worker").textContent], { type: "text/javascript" }));
const many = Math.max(1, Math.min(names.length, 4, navigator.hardwareConcurrency || 2));
const own = (i) => names.filter((_, j) => j % many === i); // the evaluators of a worker
const hands = Array.from({ length: many }, (_, i) => {
  const worker = new Worker(source), sets = Object.fromEntries(own(i).map((name) => [name, SETS[name]]));
  worker.postMessage({ begin: true, shape: DATA.shape, sets, kernel: KERNEL });
  const hand = { worker, waiting: [], busy: null };
  worker.onmessage = ({ data }) => {
    const task = hand.busy;
    if (data.wants !== undefined) return send(hand, task, weightsOf(data.wants));
    hand.busy = null;
    if (data.error) task.fail(new Error(data.error));
    else task.done(data.answer);
    next(hand);
  };
  worker.onerror = (event) => {
    event.preventDefault();
    hand.busy?.fail(new Error(event.message || "a worker stopped"));
    hand.busy = null;
    next(hand);
  };
  return hand;
});
let count = 0;

function send(hand, task, weights) {
  hand.worker.postMessage({ id: task.id, what: task.what, question: task.question, weights }, weights ? [weights] : []);
}

function next(hand) {
  while (!hand.busy && hand.waiting.length) {
    const first = hand.waiting.reduce((best, task) => (task.rank < best.rank ? task : best));
    hand.waiting.splice(hand.waiting.indexOf(first), 1);
    if (!first.wanted()) first.done(null);
    else send(hand, (hand.busy = first));
  }
}

export function ask(what, question, rank, wanted = () => true) {
  const hand = hands[names.indexOf(question.evaluator) % many];
  return new Promise((done, fail) => {
    hand.waiting.push({ id: count++, what, question, rank, wanted, done, fail });
    next(hand);
  });
}

const known = new Map(); // the number of every sequence

/* The primary metric of every sequence of an evaluator at a checkpoint, [n]; null: nobody wanted it any more. */
export async function scores(step, evaluator, ablation, rank, wanted) {
  const key = JSON.stringify([step, evaluator, ablation]);
  if (known.has(key)) return known.get(key);
  const found = await ask("scores", { step, evaluator, ablation, keep: rank < RANK.ahead }, rank, wanted);
  if (found) known.set(key, found);
  if (known.size > KEPT) known.delete(known.keys().next().value);
  return found;
}
