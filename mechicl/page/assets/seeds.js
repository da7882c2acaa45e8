/* Several runs on one page: their list, and the figure of their curves. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$;
  const make = (...parts) => D.make(...parts); // draw.js is loaded later

  function show(data) {
    M.say("", "seeds");
    D.put($("seeds-count"), data.counted);
    D.put($("seeds-note"), data.note);
    const list = $("seeds-list"), shape = JSON.stringify(data.runs);
    if (list.dataset.shape !== shape) {
      list.dataset.shape = shape;
      list.replaceChildren(...data.runs.map((row) => {
        const button = make("button", { className: "choice", data: { seed: row.run, formed: String(row.formed) }, title: row.run },
          make("span", { textContent: row.name }), make("small", { textContent: row.says }));
        button.setAttribute("aria-pressed", String(row.chosen));
        return button;
      }));
    }
    D.plotInto($("seeds-figure"), data.figure);
  }

  /* What a run that is shown together with this one keeps of the view. */
  M.together = (run) => {
    if (!M.items("seeds").map(decodeURIComponent).includes(run)) return "";
    const kept = { ...M.base.defaults, seeds: M.view.seeds, over: M.view.over, against: M.view.against, axis: M.view.axis, unit: M.view.unit };
    if (kept.against === "run/" + run) kept.against = "";
    return M.base.parts.filter((k) => k !== "run" && kept[k] && String(kept[k]) !== M.base.defaults[k])
      .map((k) => `&${k}=${encodeURIComponent(kept[k])}`).join("");
  };

  document.addEventListener("click", (event) => {
    const hit = event.target instanceof Element && event.target.closest("[data-seed]");
    if (hit && M.base) M.set({ run: hit.dataset.seed });
  });

  const asked = M.inPieces({
    name: "seeds", show, unseen: true, failed: (error) => M.say(error, "seeds"),
    parts: ["run", "seeds", "over", "against", "axis", "unit", "steps"],
  });
  M.seeds = { settled: () => asked.settled() && !asked.data().left };
})();
