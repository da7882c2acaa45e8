/* The page's behaviour: one view, the questions it raises, and the order they are asked in.

   The view lives here; Python checks it and computes. Numbers come first: a click asks for them
   at once, everything else waits until they are on the page. Per panel at most one question is
   under way; what changes meanwhile is asked when it comes back, so ten quick clicks cost two or
   three answers and end in the right state. */
(function () {
  "use strict";
  const M = (window.mechicl = { view: {}, base: null, draw: {} });
  const NONE = () => window.dash_clientside.no_update;
  const SHORT = 70; // ms of quiet before what may wait is asked for
  const LONG = 200; // ms more before a curve is begun
  const REST = 30; // ms of rest that make a pointer a guess at what is clicked next
  const DONE = "done"; // stands for all that is done to the model: M.base.changed, and its kind
  const DEPENDS = {
    timeline: ["run", "axis", "unit", "steps"],
    effect: ["run", "step", DONE],
    controls: ["run", "step", DONE],
    heads: ["run", "step", "measure", "evaluator", DONE, "steps"], // its scale is of the last checkpoint, too
    attention: ["run", "step", "evaluator", "sequence", DONE],
    logits: ["run", "step", "evaluator", "sequence", DONE],
    compare: ["run", "step", DONE, "measure", "evaluator", "sequence", "axis", "unit", "with_run", "with_step", "steps"],
    curve: ["run", DONE, "steps"],
  };
  let busy = {}, again = {}, drawn = {};
  let curve = null; // {key, from, total, lost, failed, points: {step: {sequences, values}}}
  let playing = null, quiet = null;

  const $ = (id) => document.getElementById(id);
  const all = (selector, root) => [...(root || document).querySelectorAll(selector)];
  M.$ = $;
  M.all = all;
  M.index = () => M.base.steps.indexOf(Number(M.view.step));
  /* What a part of the view lists; heads as 'LAYER.HEAD', by which the buttons call them. */
  M.items = (part) => (M.view[part] ? String(M.view[part]).split(",") : []);
  M.heads = () => new Set(M.items("heads").map((h) => h.slice(1).replace("H", ".")));
  M.done = () => M.base.changed.some((part) => M.view[part]);
  M.clear = () => M.set(Object.fromEntries(M.base.changed.map((part) => [part, ""])));
  const parts = (name) => DEPENDS[name].flatMap((part) => (part === DONE ? [...M.base.changed, "kind"] : [part]));
  /* What an answer is of: parts of the view, and "steps", how many checkpoints the run has by now. */
  M.keyOf = (parts) => parts.map((part) => (part === "steps" ? M.base.steps.length : M.view[part] ?? "")).join("|");
  const key = (name) => M.keyOf(parts(name));
  const stale = (name) => drawn[name] !== key(name);

  M.query = (change) =>
    M.base.parts
      .map((k) => [k, (change || {})[k] ?? M.view[k]])
      .filter(([k, v]) => k === "run" || (v !== "" && v != null && String(v) !== M.base.defaults[k]))
      .map(([k, v]) => k + "=" + encodeURIComponent(v).replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%40", "@"))
      .join("&");

  /* ---- asking and being answered ---- */

  async function ask(name, start) {
    if (busy[name]) {
      again[name] = true;
      return;
    }
    const asked = (busy[name] = { key: key(name), page: M.base });
    const answer = await M.reply(`answer/${name}/${start || 0}?` + M.query());
    if (asked.page !== M.base) return; // another run was opened meanwhile
    busy[name] = null;
    drawn[name] = asked.key;
    const wanted = again[name];
    again[name] = false;
    // What changed meanwhile is asked for before this answer is drawn: it computes while we draw.
    if (wanted && stale(name)) ask(name);
    if (answer.lost) askLater(name);
    else unanswered.delete(name);
    if (answer.error !== undefined) {
      if (asked.key === key(name)) M.say(answer.error, name); // not about a checkpoint that was left
      M.draw.failed(name);
      if (name === "curve") stopCurve(asked.key);
    } else {
      M.say("", name);
      SHOW[name](answer.data, asked.key);
    }
    if (name === "effect" && playing && !busy.effect) playing = setTimeout(forward, 160);
    settle(name === "effect" || name === "curve" ? SHORT : 0);
  }

  /* What got no answer is asked for again after a while: the app may be back, as when a laptop wakes. */
  const unanswered = new Set();
  let later = null;
  function askLater(name) {
    unanswered.add(name);
    later ??= setTimeout(() => {
      later = null;
      for (const name of unanswered) drawn[name] = undefined;
      if (curve && unanswered.has("curve")) curve.failed = false;
      unanswered.clear();
      settle();
    }, M.LATER);
  }

  /* What is not up to date yet, one after the other: the grid, the open tab, the curve. The first waits
     for a moment of quiet, so that someone who clicks on is not held up by what they passed. */
  function settle(wait = SHORT) {
    clearTimeout(quiet);
    if (!M.base || busy.effect) return;
    if (stale("effect")) return ask("effect");
    if (playing) return;
    quiet = setTimeout(() => {
      if (stepping) aheadOfStep(); // who steps goes on stepping: the next numbers first
      for (const name of ["timeline", "heads", M.view.tab, ...(M.done() ? ["controls"] : [])]) {
        if (busy[name]) return;
        if (stale(name)) return ask(name);
      }
      const chosen = M.edits?.chosen(); // and not added yet: computed before the next checkpoint
      if (chosen && !coming) ahead(chosen);
      if (!coming) aheadOfStep();
      if (!M.done() || busy.curve || coming) return; // a curve waits for what is computed ahead
      if (curve && curve.key === key("curve")) return more();
      quiet = setTimeout(more, LONG);
    }, drawn.timeline === undefined ? 0 : wait);
  }

  /* Computed before it is asked for: the next checkpoint the way one steps, and what the pointer
     rests on. The server drops it as soon as someone waits for numbers. */
  let moved = 1, stepping = false, coming = "", resting = null;
  const fetched = new Set();
  async function ahead(change) {
    const query = "answer/ahead/0?" + M.query(change);
    if (fetched.has(query)) return;
    if (fetched.size > 1000) fetched.clear();
    fetched.add(coming = query);
    try {
      await (await fetch(query)).text(); // read to its end, or the connection stays taken
    } catch { /* nobody waits for it */ }
    if (coming !== query) return;
    coming = "";
    settle();
  }

  function aheadOfStep() {
    const step = M.base.steps[M.index() + moved];
    if (step !== undefined) ahead({ step });
  }

  M.perhaps = (change, rest = REST) => {
    clearTimeout(resting);
    resting = setTimeout(() => M.base && !busy.effect && !playing && ahead(change), rest);
  };

  function more() {
    if (!M.done() || busy.curve || busy.effect || playing) return;
    if (!curve || curve.key !== key("curve")) curve = { key: key("curve"), from: 0, total: 1, lost: 0, points: {} };
    if (curve.from < curve.total && !curve.failed) ask("curve", curve.from);
  }

  /* A piece that cannot be computed: asked for again, it would only fail again. */
  function stopCurve(asked) {
    if (curve?.key !== asked) return;
    curve.failed = true;
    M.draw.curve(curve);
  }

  function addToCurve(data, asked) {
    if (!curve || curve.key !== asked || asked !== key("curve")) return; // the choice has changed
    data.steps.forEach((step, i) => {
      const values = {};
      for (const name in data.values) values[name] = data.values[name][i];
      curve.points[step] = { sequences: data.sequences[i], values };
    });
    curve.lost += data.unreadable;
    curve.from = data.next;
    curve.total = data.total;
    // Drawing a long curve takes tens of milliseconds: now and then, and never while numbers are awaited.
    const now = performance.now(), first = curve.drawn === undefined;
    if (!first && curve.from < curve.total && (busy.effect || now - curve.drawn < Math.min(2000, curve.total))) return;
    curve.drawn = now;
    M.draw.curve(curve);
  }

  function dropCurve() {
    if (curve && curve.key !== key("curve")) {
      curve = null;
      M.say("", "curve");
      M.draw.curve(null);
    }
  }

  M.redrawCurve = () => M.draw.curve(curve && curve.key === key("curve") ? curve : null);

  /* Whether the numbers on the page are the view's; with a name, whether that panel is. */
  M.settled = (name) => Boolean(M.base) && !busy[name || "effect"] && !stale(name || "effect");

  /* ---- changing the view ---- */

  M.set = (change) => {
    if (!M.base) return;
    if ("run" in change && change.run !== M.view.run) {
      window.location.search = "?run=" + encodeURIComponent(change.run) + M.together(change.run); // another run is another page
      return;
    }
    if (change.heads === "") change.hold = ""; // it is of the layers after the heads
    if ("track" in change) Object.assign(change, { score: "", items: "" }); // they are of one measure
    if (change.patch === "") change.counterfactual = "";
    if ("with_run" in change && change.with_run !== M.view.with_run) change.with_step = "";
    if ("evaluator" in change && M.view.sequence !== "" && M.view.sequence != null)
      change.sequence = String(Math.min(Number(M.view.sequence), M.base.sizes[change.evaluator] - 1));
    stepping = "step" in change && Math.abs(M.base.steps.indexOf(Number(change.step)) - M.index()) === 1;
    M.show(change);
    M.remember(change);
  };

  /* The run has more checkpoints. What the reader does goes on, and who is at the end now stays there. M.base stays the
     same object: another one would be another run. */
  M.grow = (base) => {
    const last = M.index() === M.base.steps.length - 1, begun = curve?.key === key("curve");
    Object.assign(M.base, base);
    if (begun) Object.assign(curve, { key: key("curve"), from: 0, total: base.steps.length, lost: 0, failed: false }); // its points stay
    M.draw.steps();
    if (last) M.show({ step: String(base.steps[base.steps.length - 1]) });
    else M.draw.controls();
    M.amend();
    settle();
  };

  /* Put a view on the page. */
  M.show = (change) => {
    Object.assign(M.view, change);
    M.say("");
    if (stale("effect")) ask("effect"); // first: it computes while we draw
    M.draw.controls();
    M.draw.cursor();
    dropCurve();
    settle();
  };

  M.go = (index) => {
    const last = M.base.steps.length - 1;
    const step = String(M.base.steps[Math.max(0, Math.min(last, index))]);
    if (step === String(M.view.step)) return;
    moved = Number(step) > Number(M.view.step) ? 1 : -1;
    M.set({ step });
  };

  /* ---- playing ---- */

  function forward() {
    if (!playing) return;
    if (M.index() >= M.base.steps.length - 1) return pause();
    M.go(M.index() + 1);
  }

  function pause() {
    M.plays(null);
    clearTimeout(playing);
    playing = null;
    M.draw.playing(false);
    settle();
  }

  M.play = () => {
    if (playing) return pause();
    M.draw.playing(true);
    M.plays({});
    playing = setTimeout(forward, 0);
    if (M.index() >= M.base.steps.length - 1) M.go(0);
  };

  /* ---- what Dash calls ---- */

  function begin(base) {
    if (!base) {
      M.base = null;
      return NONE();
    }
    const ready = () => {
      if (!$("slider") || !$("grid") || !M.track) return requestAnimationFrame(ready); // the last script's
      busy = {}; again = {}; drawn = {}; curve = null;
      M.hush();
      unanswered.clear();
      M.base = base;
      M.view = { ...base.defaults, ...base.view };
      for (const part in M.view) M.view[part] = decodeURIComponent(M.view[part]);
      M.draw.setUp();
      M.show({});
      M.beginHistory();
    };
    ready();
    return NONE();
  }

  const SHOW = {
    timeline: (data) => M.draw.timeline(data),
    effect: (data) => {
      drawn.controls = undefined; // drawing new numbers takes away the controls of the old ones
      M.say("", "controls");
      M.draw.effect(data);
    },
    heads: (data) => M.draw.grid(data),
    controls: (data, asked) => {
      if (!M.done() || asked !== key("controls") || !M.settled()) return; // of other numbers than the page's
      if (data.partial) drawn.controls = undefined; // somebody waited for something else: asked again
      else M.draw.random(data);
    },
    curve: addToCurve,
    attention: (data) => M.draw.attention(data),
    logits: (data) => M.draw.logits(data),
    compare: (data) => M.draw.compare(data),
  };
  window.dash_clientside = Object.assign({}, window.dash_clientside, { mechicl: { begin } });
})();
