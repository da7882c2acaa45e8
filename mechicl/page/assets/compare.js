/* Two checkpoints or two runs side by side. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$;
  const make = (...parts) => D.make(...parts); // draw.js and look.js are loaded later
  let last = null; // what is on the page, to redraw when one head is chosen

  D.noComparison = () => {
    last = null;
    $("comparison").replaceChildren();
  };

  D.compare = (data) => {
    D.withSteps = data.steps;
    const [a, b] = data.sides;
    let slider = $("with-input");
    if (!slider) {
      slider = make("input", { type: "range", id: "with-input", min: 0, step: 1 });
      slider.setAttribute("aria-label", "Checkpoint to compare with");
      $("with-slider").replaceChildren(slider);
    }
    const same = Number(slider.max) === data.steps.length - 1;
    slider.max = data.steps.length - 1; // in place: a hand may be on it while the run grows
    if (!same || document.activeElement !== slider) slider.value = b.place.index;
    D.passed(slider);
    $("with-where").textContent = `${b.place.text} · ${b.place.sequences} sequences · ${b.place.of}`;
    const title = (s) => `${s === a ? "A" : "B"}: ${s.run}, ${s.place.text}` + (s.note ? ` (${s.note})` : "");
    const number = ([value, ci, n], clear) => make("td", { className: clear ? "clear" : "" }, make("span", { textContent: value }),
      make("small", { textContent: ci + (n ? `, n = ${n}` : "") }));
    const rows = Object.entries(data.difference).map(([name, difference]) =>
      make("tr", { data: { compare: name } }, make("th", { scope: "row", textContent: data.names[name] }),
        number(a.numbers[name]), number(b.numbers[name]), number(difference, data.clear.includes(name))));
    const head = make("tr", {}, ...["evaluator", title(a), title(b), data.paired ? "B − A (paired)" : "B − A"].map(
      (textContent) => make("th", { textContent, scope: "col" })));
    const grids = data.sides.map((s) => {
      const cells = s.cells.map((c) => {
        const box = make("span", { className: "head", title: c.says },
          make("small", { textContent: "L" + c.head.replace(".", "H") }), make("span", { textContent: c.text }));
        box.style.setProperty("--ground", c.ground || "transparent");
        box.style.setProperty("--ink-here", c.ink || "var(--ink)");
        box.classList.toggle("clear", c.clear);
        box.classList.toggle("out", s.done !== "intact" && M.heads().has(c.head));
        return box;
      });
      const grid = make("div", { className: "small-grid" }, ...cells);
      grid.style.setProperty("--heads", s.heads);
      return make("div", {}, make("h3", { textContent: `${title(s)}: ${data.measure}, ${s.done}` }), grid, s.scale ? D.legend(s.scale) : null);
    });
    let figure = $("compare-figure");
    if (!figure) figure = make("div", { id: "compare-figure" });
    const patterns = make("div", { id: "compare-patterns" });
    const caution = data.caution ? make("p", { id: "compare-caution", textContent: data.caution }) : null;
    $("comparison").replaceChildren(make("table", { className: "numbers" }, head, ...rows), ...(caution ? [caution] : []),
      make("div", { className: "pair" }, ...grids), patterns, make("h3", { textContent: "Over training, as recorded" + (data.note ? "; open markers: both under the ablation" : "") }), figure);
    D.plotInto(figure, data.figure);
    last = data;
    D.compareHeads();
  };

  /* Every head's pattern on both sides and, where they have the same positions, their difference B − A. */
  D.compareHeads = () => {
    const place = $("compare-patterns");
    if (!last || !place) return;
    const [a, b] = last.sides, one = M.view.head || "", cards = [];
    for (let layer = 0; layer < Math.max(a.layers, b.layers); layer++)
      for (let head = 0; head < Math.max(a.heads, b.heads); head++) {
        const id = `${layer}.${head}`, values = last.sides.map((s) => s.patterns[layer]?.[head]);
        if ((one && one !== id) || values.every((v) => !v)) continue;
        cards.push(card(id, values, last, one ? 330 : 142));
      }
    const what = a.what === b.what ? a.what : `A: ${a.what}; B: ${b.what}`;
    const tokens = last.chosen ? (last.paired ? [a] : [a, b]).map((s) =>
      make("div", { className: "tokens" }, ...(last.paired ? [] : [make("strong", { textContent: s === a ? "A" : "B" })]),
        ...D.tokens(s.tokens))) : [];
    const grid = make("div", {}, ...cards);
    D.arrange(grid, Math.max(a.heads, b.heads), true, one);
    place.replaceChildren(make("h3", { textContent: "Attention" + (last.note ? ", ablated" : "") }), ...tokens, grid,
      make("p", { className: "note" }, `Attention from rows to columns, ${what}. ` +
        last.note + " " + (last.aligned ? "" : "No difference: the heads or positions differ. "), ...D.scales(last.aligned && "B − A")));
  };

  function card(id, [a, b], data, size) {
    const name = "L" + id.replace(".", "H"), one = size > 200;
    const gap = data.aligned ? b.map((row, i) => row.map((v, j) => v - a[i][j])) : null;
    const { attention, change } = M.base.colours;
    const sides = [["A", a, attention.page, 0, data.sides[0]], ["B", b, attention.page, 0, data.sides[1]],
      ["B − A", gap, change.page, -1, data.sides[0]]].filter((side) => side[1]);
    return make("button", { className: "card", title: one ? "Back to all heads" : `Enlarge ${name}`, data: { set: "head", to: one ? "" : id } },
      make("strong", { textContent: name }), make("div", { className: "sides" }, ...sides.map(([title, values, colours, low, side]) =>
        make("figure", {}, D.pattern(values, side.tokens, colours, low, size, one || side.tokens.length <= 9),
          make("figcaption", { textContent: title })))));
  }
})();
