/* Figures where there is little room: what stands above the plot is put in rows of its own, inside its edges. */
(function () {
  "use strict";
  const M = window.mechicl;
  const NARROW = window.matchMedia("(max-width: 640px)"); // as narrow.css
  const ROW = 13, ENTRY = 20; // px

  M.isNarrow = () => NARROW.matches;

  /* Columns with a number in each cell keep room for it: their figure is wider than the screen, and scrolls. */
  M.fitted = (figure, mayGrow = true) => {
    const cells = figure.data.filter((trace) => trace.type === "heatmap" && trace.texttemplate && Array.isArray(trace.x));
    const need = 150 + cells.reduce((sum, trace) => sum + 44 * trace.x.length, 0);
    if (cells.length && need > document.documentElement.clientWidth - 40)
      figure = { ...figure, layout: { ...figure.layout, width: need } };
    return below(inside(figure), figure.layout, mayGrow);
  };

  /* A legend below the plot stays as far below it as where there is room, and its rows are added to the figure. */
  const below = (figure, before, mayGrow) => {
    const { legend, height, margin } = figure.layout;
    if (!M.isNarrow() || !height || legend?.orientation !== "h" || !(legend.y < 0)) return figure;
    const names = figure.data.filter((trace) => trace.name && trace.showlegend !== false).map((trace) => trace.name.length);
    const widest = 50 + 7 * Math.max(0, ...names), room = document.documentElement.clientWidth - 110; // px: plotly's columns
    const whole = names.reduce((sum, letters) => sum + 50 + 7 * letters, 0) <= room;
    const rows = whole ? 1 : Math.ceil(names.length / Math.max(1, Math.floor(room / widest)));
    const added = ENTRY * (rows - 1), more = mayGrow ? added : 0; // else they are taken from the plot
    const y = (legend.y * (height - before.margin.t - before.margin.b)) / (height + more - added - margin.t - margin.b);
    return { ...figure, layout: { ...figure.layout, height: height + more, margin: { ...margin, b: margin.b + more }, legend: { ...legend, y } } };
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
