/* A measure over training: a click chooses which curves are drawn, and the server draws them. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$, all = M.all, make = D.make;
  const score = () => document.querySelector('[data-set="score"]');

  function show(data) {
    const [first, ...rest] = data.metrics, options = JSON.stringify(data.metrics);
    if (score().dataset.options !== options) {
      score().dataset.options = options;
      score().replaceChildren(...[["", first], ...rest.map((name) => [name, name])].map(([value, name]) =>
        make("option", { value, textContent: (name || "value").replaceAll("_", " ") })));
    }
    score().value = M.view.score ?? "";
    score().closest(".select").hidden = !rest.length;
    const place = $("track-items"), focus = document.activeElement?.dataset?.track;
    place.replaceChildren(...data.items.map(({ item, shown, chosen }) => {
      const button = make("button", { className: "choice", textContent: item.replace("->", " → "), data: { track: item } });
      button.setAttribute("aria-pressed", String(shown));
      button.disabled = data.full && !chosen;
      return button;
    }));
    if (focus) all("[data-track]", place).find((b) => b.dataset.track === focus)?.focus();
    D.put($("track-note"), data.note);
    D.plotInto($("track-figure"), data.figure);
  }

  document.addEventListener("click", (event) => {
    const hit = M.base && event.target instanceof Element && event.target.closest("[data-track]");
    if (!hit) return;
    const item = hit.dataset.track;
    if (M.items("items").includes(item)) M.drop("items", item);
    else M.set(M.added("items", item));
  });

  M.track = M.inPieces({
    name: "track", show,
    failed: (error) => {
      D.put($("track-note"), error);
      $("track-items").replaceChildren();
      window.Plotly?.purge($("track-figure"));
    },
    parts: ["run", "step", "evaluator", "track", "score", "items", "axis", "unit", "seeds", "steps"],
  });
})();
