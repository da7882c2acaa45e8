/* Figures where there is little room: what stands above the plot is put in rows of its own, inside its edges. */
(function () {
  "use strict";
  const M = window.mechicl;
  const NARROW = window.matchMedia("(max-width: 640px)"); // as narrow.css
  const ROW = 13; // px

  M.isNarrow = () => NARROW.matches;

  /* Columns with a number in each cell keep room for it: their figure is wider than the screen, and scrolls. */
  M.fitted = (figure) => {
    const cells = figure.data.filter((trace) => trace.type === "heatmap" && trace.texttemplate && Array.isArray(trace.x));
    const need = 150 + cells.reduce((sum, trace) => sum + 44 * trace.x.length, 0);
    if (cells.length && need > document.documentElement.clientWidth - 40)
      figure = { ...figure, layout: { ...figure.layout, width: need } };
    return inside(figure);
  };

  const inside = (figure) => {
    const layout = figure.layout, [low, high] = layout.xaxis?.range || [0, 1];
    const above = (layout.annotations || []).filter((a) => a.yref === "paper" && a.xref !== "paper");
    if (!M.isNarrow() || !above.length) return figure;
    const annotations = layout.annotations.map((a) => {
      const row = above.indexOf(a);
      if (row < 0) return a;
      const left = (a.x - low) / (high - low) < 0.5;
      return { ...a, y: 1, yshift: 2 + ROW * row, xanchor: left ? "left" : "right", font: { ...a.font, size: 10 } };
    });
    return { ...figure, layout: { ...layout, annotations, margin: { ...layout.margin, t: 8 + ROW * (above.length + 1) } } };
  };
})();
