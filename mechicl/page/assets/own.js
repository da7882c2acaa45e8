/* Interventions of plugins (own.py): a place to write for each field, and the text that `mechicl ablate --own` takes. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, all = M.all, make = D.make;

  const setUp = D.setUp;
  D.setUp = () => {
    setUp();
    all("#edits [data-input]").forEach((place) => {
      const { input: value, ...data } = place.dataset;
      const field = make("input", { type: "text", value, size: 8, data, spellcheck: false });
      field.setAttribute("aria-label", place.getAttribute("aria-label"));
      field.addEventListener("keydown", (event) => event.key === "Enter" && M.edits.add());
      place.replaceWith(field);
    });
  };

  /* 'own-scale_values' -> 'scale_values(layer=0, factor=0.5)'; a field that is left empty has its default. */
  M.own = (row) => {
    const fields = all(`#edits [data-row="${row}"].choices [data-field]`).filter((f) => f.dataset.text || f.value.trim());
    const given = fields.map((f) => `${f.dataset.field}=${f.dataset.text ? JSON.stringify(f.value) : f.value.trim()}`);
    return { own: `${row.slice("own-".length)}(${given.join(", ")})` };
  };
})();
