/* What plotly draws: the timeline, the tabs' figures, and figures to take along. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$, put = D.put, make = D.make;
  const REST = 300; // ms
  const CONFIG = { displayModeBar: false, responsive: true };

  /* How much larger than on a laptop things are drawn: app.css' rem, of which 10 px are 1. */
  const size = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 10;

  /* A figure at the page's size: fonts, margins, lines and height grow alike. */
  function grown(x, key = "", inside = "", by = size()) {
    if (typeof x === "number") {
      const grows = key === "height" || key === "yshift" || key === "thickness" || inside === "margin" || (key === "width" && inside === "line") ||
        (key === "size" && inside.endsWith("font"));
      return grows ? x * by : x;
    }
    if (typeof x !== "object" || x === null || (Array.isArray(x) && typeof x[0] !== "object")) return x;
    if (Array.isArray(x)) return x.map((each) => grown(each, key, inside, by));
    return Object.fromEntries(Object.entries(x).map(([k, v]) => [k, grown(v, k, key, by)]));
  }
  const shape = () => size() + (M.isNarrow() ? ` narrow ${window.innerWidth}` : ""); // a legend's rows depend on it
  let drawnAt = null; // the shape that figures were last drawn at
  const figures = new Map(); // element -> its figure as it came, to draw again on another screen, and how often one came
  window.addEventListener("resize", () => {
    if (!M.base || drawnAt === null || drawnAt === shape()) return;
    if (timeline) D.timeline(timeline);
    redrawn();
  });
  function redrawn(which = () => true) {
    for (const [element, { figure }] of figures)
      if (!element.isConnected) figures.delete(element);
      else if (which(figure)) D.plotInto(element, figure);
  }

  /* In a window of another size plotly places titles by the margins that were: once more, when the window rests and
     plotly's own change is done. Its resize forgets the height and width that a figure came with, so those that we drew
     are drawn by us, at the sizes of this window. */
  let resting = null;
  async function again(plot) {
    if (!plot.data || !plot.offsetParent) return; // of a tab that is closed
    if (figures.has(plot)) await D.plotInto(plot, figures.get(plot).figure);
    else await window.Plotly.Plots.resize(plot);
    await window.Plotly.redraw(plot);
  }
  window.addEventListener("resize", () => {
    clearTimeout(resting);
    resting = setTimeout(() => M.all(".js-plotly-plot").forEach(again), REST);
  });

  /* ---- the timeline: drawn once, then only its cursor and its dashed lines move ---- */

  let plot = null, timeline = null;

  D.timeline = (came) => {
    timeline = came;
    drawnAt = shape();
    const figure = M.fitted(grown(came), false); // its place has a height of its own
    const props = { id: "timeline", figure, config: CONFIG, style: { height: "36rem" } };
    if ($("timeline")) window.dash_clientside.set_props("timeline", { figure });
    else window.dash_clientside.set_props("graph", { children: { namespace: "dash_core_components", type: "Graph", props } });
    const wait = () => {
      const found = document.querySelector("#timeline .js-plotly-plot");
      if (!window.Plotly || !found || !found.data || M.branches.without(found.data).length !== figure.data.length)
        return setTimeout(wait, 30);
      if (found !== plot) {
        plot = found;
        plot.on("plotly_click", (event) => M.go(nearest(event.points[0].x)));
        plot.on("plotly_afterplot", D.cursor);
      }
      D.cursor();
      M.redrawCurve();
    };
    setTimeout(wait, 0);
  };

  const times = () => (M.view.unit === "steps" ? M.base.steps : M.base.sequences);
  function nearest(x) {
    const far = times().map((t) => Math.abs(t - x));
    return far.indexOf(Math.min(...far));
  }

  /* An element over the plot: asking plotly to move a line redraws for 80 ms, this for none. */
  D.cursor = () => {
    const layout = plot && plot._fullLayout, cursor = $("cursor");
    if (!layout || !layout.xaxis || !cursor) return;
    const axis = layout.xaxis, first = 10 ** axis.range[0];
    let x = times()[M.index()];
    if (axis.type === "log") x = Math.max(x, first); // step 0 is off a log axis: at its edge
    const at = axis.d2p(x);
    cursor.hidden = !(at >= -1 && at <= axis._length + 1); // zoomed away
    cursor.style.top = layout.yaxis._offset + "px";
    cursor.style.height = layout.yaxis._length + "px";
    cursor.style.transform = `translateX(${axis._offset + at}px)`;
    cursor.dataset.step = M.view.step;
  };

  D.curve = (curve) => {
    const points = curve ? Object.entries(curve.points).sort((a, b) => a[0] - b[0]) : [];
    const done = points.length, [shown, total] = [done, curve?.total ?? 0].map((n) => n.toLocaleString("en"));
    put($("curve-progress"), !curve ? "" :
      `Dashed: ${D.doneText()}, ` +
      (curve.failed ? `it stopped after ${shown} checkpoints.` : curve.from < curve.total ? `${shown} of ${total} checkpoints so far …` :
        curve.lost ? `${shown} checkpoints; ${curve.lost} cannot be read.` : `all ${total} checkpoints.`));
    $("curve-progress").dataset.done = done;
    // Hidden at once by a class; emptied only when new points come, since that redraws for 30 ms.
    $("timeline")?.classList.toggle("stale", !done);
    if (!plot || !plot.data || !done) return;
    const names = M.base.evaluators, x = [], y = [], text = [], traces = [];
    names.forEach((name, i) => {
      // Step 0 is nowhere on a log axis: plotly would draw its neighbour's value to the left edge.
      const at = ([step, p]) => (M.view.unit === "steps" ? Number(step) : p.sequences);
      x.push(points.map((point) => at(point) || (M.view.axis === "log" ? null : 0)));
      y.push(points.map(([, p]) => p.values[name] ?? null)); // sequences that have not what is changed have no curve
      text.push(y[i].map((v) => (v === null ? "" : D.plain(v))));
      traces.push(3 * names.length + i);
    });
    window.Plotly.restyle(plot, { x, y, text }, traces);
  };

  /* ---- taking figures along ---- */

  D.save = async (what, format) => {
    document.querySelector(".menu").open = false;
    const { run, step } = M.view; // what is asked for; the view may change before the answer comes
    if (format === "png" || format === "svg") {
      const answer = await fetch(`figure/${what}.json?` + M.query()).catch(() => null);
      if (!answer?.ok) return M.say(answer ? await answer.text() : M.SILENT);
      const figure = await answer.json();
      const height = figure.layout.height || 450, width = figure.layout.width || 1100;
      figure.layout.width = width;
      const address = await window.Plotly.toImage(figure, { format, width, height, scale: format === "png" ? 2 : 1 });
      return download(address, `${run}-step${step}-${what}.${format}`);
    }
    // The whole run in one file, or what a browser beside the server draws: seconds.
    const long = what === "page" ? "page" : format === "pdf" ? "figure" : "";
    busy(long);
    const answer = await fetch(`export/${what}.${format}?` + M.query()).catch(() => null);
    busy("");
    if (!answer?.ok) return M.say(answer ? await answer.text() : M.SILENT);
    if (long) M.say(`The ${long} is in your downloads.`, "page");
    const name = /filename="?([^";]+)/.exec(answer.headers.get("Content-Disposition") || "");
    const address = URL.createObjectURL(await answer.blob());
    download(address, name ? name[1] : `${what}.${format}`);
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  };

  function busy(what) {
    const button = $("export-page-button"), on = what === "page";
    if (on) button.disabled = true;
    else if (button?.ariaBusy === "true") button.disabled = false;
    if (button) button.ariaBusy = String(on);
    M.say(what ? `The ${what} is being written; it takes some seconds …` : "", "page");
  }

  function download(address, name) {
    const link = make("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
  }

  /* In another theme: what has colours of its own. */
  D.redrawn = () => {
    redrawn((figure) => figure.layout.meta?.scale);
  };

  D.plotInto = async (element, figure) => {
    if (!window.Plotly) return setTimeout(() => D.plotInto(element, figure), 50);
    const before = figures.get(element), count = (before?.count ?? 0) + (before?.figure !== figure);
    figures.set(element, { figure, count });
    drawnAt = shape();
    const { data, layout } = M.fitted(grown(figure)), scale = layout.meta?.scale;
    if (scale) // a new object: plotly looks for changes by identity
      layout.coloraxis = { ...layout.coloraxis, colorscale: M.base.colours[scale][document.documentElement.dataset.theme] };
    layout.uirevision ??= count; // the same figure drawn again keeps the reader's zoom
    await window.Plotly.react(element, data, layout, { ...CONFIG, responsive: false });
    // A figure without a width keeps the one that it was first drawn with, though its place has another by now.
    if (!layout.width && element.offsetParent && Math.abs(element.clientWidth - element._fullLayout.width) > 1)
      await window.Plotly.relayout(element, { autosize: true });
  };
})();
