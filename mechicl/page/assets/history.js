/* Back, Forward, undo and redo: the states of the page are entries of the browser's history.

   Each change is an entry of its own. What belongs to one gesture is one: a slider that is dragged, a key that is held
   down, training that is played. The address is written at once where an entry begins, and at rest while it changes:
   browsers limit how often an address may change. */
(function () {
  "use strict";
  const M = window.mechicl;
  const REST = 120; // ms of quiet before an entry that changes is written
  const LOST = 1500; // ms after which a journey is taken to lead nowhere
  let at = 0, top = 0; // this entry's number, and the last one's
  let last = null; // the query that is shown
  let gesture = null, playing = null, owner = null; // what is going on now, and what the last entry belongs to
  let writing = null, travelling = 0, wanted = 0, lost = null;

  const state = () => ({ mechicl: at, view: { ...M.view } });
  const address = () => "?" + last + window.location.hash;

  function write(how) {
    clearTimeout(writing);
    writing = null;
    try {
      history[how + "State"](state(), "", address());
    } catch { /* too many at once for this browser: the next one writes it */ }
    buttons();
  }

  /* The page of a run begins: its entry is the one that the browser has. */
  M.beginHistory = () => {
    at = top = history.state?.mechicl ?? 0;
    last = M.query();
    owner = null;
    write("replace");
  };

  /* The view has changed: an entry, or more of the last one. */
  M.remember = (change) => {
    const query = M.query();
    if (query === last) return;
    const moves = Object.keys(change).every((part) => ["step", "with_step", "threshold"].includes(part));
    const now = moves ? playing ?? gesture : null;
    const same = now !== null && now === owner;
    if (!same && writing !== null) write("replace"); // what the entry before ended with
    last = query;
    owner = now;
    if (same) {
      clearTimeout(writing);
      writing = setTimeout(() => write("replace"), REST);
      return;
    }
    top = ++at;
    write("push");
  };

  /* The view has changed by itself, as when its run grows: the entry is of the new view, and redo leads where it led. */
  M.amend = () => {
    if (M.query() === last) return;
    last = M.query();
    write("replace");
  };

  /* A hand on the slider or a key; training that plays. null: no more. */
  M.gesture = (what) => (gesture = what);
  M.plays = (what) => (playing = what);

  function buttons() {
    for (const [name, off] of [["undo", at <= 0], ["redo", at >= top]])
      M.all(`[data-do="${name}"]`).forEach((button) => {
        // A button in focus stays there: one that is disabled would drop the focus to the page's beginning.
        button.setAttribute("aria-disabled", String(off));
      });
  }

  /* One journey at a time: a browser may drop what is asked for while it travels. */
  M.travel = (by) => {
    const to = at + travelling + wanted + by;
    if (to < 0 || to > top) return;
    if (writing !== null) write("replace");
    wanted += by;
    leave();
  };

  function leave() {
    if (travelling || !wanted) return;
    travelling = wanted;
    wanted = 0;
    history.go(travelling);
    lost = setTimeout(() => (travelling = 0), LOST);
  }

  /* Before Dash hears of it (it would fetch the page anew): this page can show its own states itself. */
  window.addEventListener("popstate", (event) => {
    const there = event.state;
    travelling = 0;
    clearTimeout(lost);
    if (!M.base || there?.mechicl === undefined || there.view?.run !== M.view.run) return;
    event.stopImmediatePropagation();
    at = there.mechicl;
    top = Math.max(top, at);
    owner = null;
    clearTimeout(writing);
    writing = null;
    M.show(there.view);
    last = M.query();
    buttons();
    leave();
  }, true);
})();
