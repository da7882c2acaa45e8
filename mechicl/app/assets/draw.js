/* What the answers look like. Text is set as text, never as markup: a name from a run stays a name. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$, all = M.all;
  const put = (element, text) => { if (element && element.textContent !== text) element.textContent = text; };
  const cell = (name) => document.querySelector(`[data-cell="${name}"]`);
  const stored = {
    get: (k) => { try { return localStorage.getItem("mechicl-" + k); } catch { return null; } },
    set: (k, v) => { try { localStorage.setItem("mechicl-" + k, v); } catch { /* private windows */ } },
  };
  function make(tag, properties, ...children) {
    const { data, ...rest } = properties || {};
    const element = Object.assign(document.createElement(tag), rest);
    Object.assign(element.dataset, data || {});
    element.append(...children.filter((c) => c != null));
    return element;
  }
  D.make = make;
  const CONFIG = { displayModeBar: false, responsive: true };

  /* .598, −.012: numbers as texts.py writes them. */
  D.plain = (v, digits = 3) => (Number(v.toFixed(digits)) || 0).toFixed(digits).replace("-", "−").replace(/^(−?)0(?=\.\d*[1-9])/, "$1");

  /* How much larger than on a laptop things are drawn: app.css' rem, of which 10 px are 1. */
  const size = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 10;

  /* A figure at the page's size: fonts, margins, lines and height grow alike. */
  function grown(x, key = "", inside = "", by = size()) {
    if (typeof x === "number") {
      const grows = key === "height" || key === "thickness" || inside === "margin" || (key === "width" && inside === "line") ||
        (key === "size" && inside.endsWith("font"));
      return grows ? x * by : x;
    }
    if (typeof x !== "object" || x === null || (Array.isArray(x) && typeof x[0] !== "object")) return x;
    if (Array.isArray(x)) return x.map((each) => grown(each, key, inside, by));
    return Object.fromEntries(Object.entries(x).map(([k, v]) => [k, grown(v, k, key, by)]));
  }
  let drawnAt = null; // the size that figures were last drawn at
  const figures = new Map(); // element -> its figure as it came, to draw again on another screen
  window.addEventListener("resize", () => {
    if (!M.base || drawnAt === null || drawnAt === size()) return;
    if (timeline) D.timeline(timeline);
    for (const [element, figure] of figures) element.isConnected ? D.plotInto(element, figure) : figures.delete(element);
  });

  /* ---- once ---- */

  D.setUp = () => {
    const last = M.base.steps.length - 1;
    const slider = make("input", { type: "range", id: "slider-input", min: 0, max: last, step: 1 });
    slider.setAttribute("aria-label", "Checkpoint");
    $("slider").replaceChildren(slider);
    const sequence = make("input", { type: "number", id: "sequence-input", min: 0 });
    sequence.setAttribute("aria-label", "Number of the sequence");
    $("sequence-place").replaceChildren(sequence);
    document.title = M.view.run + " · mechicl";
    D.theme(false);
    D.hints(false);
  };

  /* Light, dark, or as the system says. */
  D.theme = (change) => {
    const root = document.documentElement;
    const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    let theme = stored.get("theme") || (dark ? "dark" : "light");
    if (change) {
      theme = root.dataset.theme === "dark" ? "light" : "dark";
      stored.set("theme", theme);
    }
    root.dataset.theme = theme;
  };

  const seen = () => new Set((stored.get("hints") || "").split(","));
  D.hints = (again) => {
    if (again) stored.set("hints", "");
    all("[data-hint]").forEach((hint) => (hint.hidden = seen().has(hint.dataset.hint)));
  };
  D.dismiss = (name) => {
    stored.set("hints", [...seen().add(name)].join(","));
    D.hints(false);
  };

  const named = (evaluator) => document.querySelector(`[data-set="evaluator"] option[value="${evaluator}"]`).textContent;

  /* How far a slider has come, for the colour of its track. */
  D.passed = (slider) => slider.style.setProperty("--at", (100 * slider.value) / Math.max(1, slider.max) + "%");

  /* ---- controls, at once and without the server ---- */

  D.controls = () => {
    const { view, base } = M, i = M.index(), heads = M.heads();
    const slider = $("slider-input");
    const where = `step ${base.steps[i].toLocaleString("en")} · ${base.sequences[i].toLocaleString("en")} sequences`;
    slider.value = i;
    D.passed(slider);
    slider.setAttribute("aria-valuetext", where);
    put($("where"), `${where} · ${i + 1} of ${base.steps.length}`);
    all("[data-set][data-to]").forEach((button) => {
      button.setAttribute("aria-pressed", String((view[button.dataset.set] ?? "") === button.dataset.to));
    });
    all("select[data-set]").forEach((select) => {
      if (select.value !== (view[select.dataset.set] ?? "")) select.value = view[select.dataset.set] ?? "";
    });
    all("button[data-head]").forEach((button) => {
      const out = heads.has(button.dataset.head);
      button.setAttribute("aria-pressed", String(out));
      const name = "L" + button.dataset.head.replace(".", "H");
      button.setAttribute("aria-label", name + (out ? ", ablated" : ", intact"));
    });
    const sequence = $("sequence-input");
    sequence.max = base.sizes[view.evaluator] - 1;
    sequence.placeholder = `0–${sequence.max}`;
    if (document.activeElement !== sequence) sequence.value = view.sequence ?? "";
    const names = [...heads].map((h) => "L" + h.replace(".", "H"));
    put($("ablated-now"), names.length ? names.join(" ") + " ablated" : "Nothing is ablated: press a head.");
    $("ablated-now").classList.toggle("some", names.length > 0);
    const kind = base.kinds[view.kind];
    put($("kind-note"), kind.meaning);
    put($("baseline-note"), `Baseline: ${kind.baseline}. Applied at hook_z, the head's output before W_O.`);
    const m = base.measures[view.measure];
    const on = m.on ? `Kind: ${view.kind.replaceAll("_", " ")}.` : `In the intact model, on ${named(view.evaluator)} sequences.`;
    put($("measure-note"), `${m.meaning} ${on}`);
    $("scale").style.background = m.gradient;
    put($("scale-low"), m.low);
    put($("scale-high"), m.high);
    put($("scale-unit"), m.unit);
    all("[data-tab]").forEach((region) => (region.hidden = region.dataset.tab !== view.tab));
    $("effect").classList.toggle("none", !heads.size);
  };

  D.playing = (on) => {
    const button = document.querySelector('[data-do="play"]');
    put(button, on ? "❚❚" : "▶");
    button.setAttribute("aria-label", on ? "Pause" : "Play");
  };

  D.failed = (name) => {
    if (name !== "effect") return;
    all("[data-cell]").forEach((c) => put(c, c.dataset.cell.endsWith("_ci") ? "" : "–"));
  };

  /* ---- the numbers ---- */

  D.effect = (data) => {
    for (const [name, row] of Object.entries(data.rows)) {
      for (const what of ["n", "intact", "intact_ci", "ablated", "ablated_ci", "change", "change_ci"])
        put(cell(`${name}.${what}`), row[what]);
      const line = document.querySelector(`[data-row="${name}"]`);
      line.classList.toggle("clear", Boolean(row.clear));
      for (const side of ["intact", "ablated"]) {
        const range = line.querySelector(`[data-mark="${name}.${side}"]`);
        const dot = line.querySelector(`[data-dot="${name}.${side}"]`);
        const bar = row.bars[side];
        range.hidden = dot.hidden = !bar;
        if (!bar) continue;
        dot.style.left = bar[0] + "%";
        range.style.left = bar[1] + "%";
        range.style.width = bar[2] - bar[1] + "%";
      }
      line.querySelector("[data-bar]").setAttribute("aria-label",
        `intact ${row.intact}` + (row.bars.ablated ? `, ablated ${row.ablated}` : ""));
    }
    put($("effect-where"), `${data.place.text} · ${data.place.sequences} sequences`);
    $("effect").dataset.step = data.place.step;
    $("effect").dataset.shown = Number($("effect").dataset.shown || 0) + 1;
    put($("effect-note"), M.view.heads ? "" : "Press a head below to see what changes without it.");
  };

  D.grid = (data) => {
    for (const c of data.cells) {
      const button = document.querySelector(`button[data-head="${c.head}"]`);
      put(button.querySelector(".score"), c.text);
      button.style.setProperty("--ground", c.ground || "transparent");
      button.style.setProperty("--ink-here", c.ink || "var(--ink)");
      button.title = c.says + ". Press to ablate; shift-press for only this head.";
    }
    const m = M.base.measures[M.view.measure];
    put($("scale-unit"), `${m.unit}, n = ${data.n.toLocaleString("en")} sequences`);
  };

  /* ---- the timeline: drawn once, then only its cursor and its dashed lines move ---- */

  let plot = null, timeline = null;

  D.timeline = (came) => {
    timeline = came;
    drawnAt = size();
    const figure = grown(came);
    const props = { id: "timeline", figure, config: CONFIG, style: { height: "33rem" } };
    if ($("timeline")) window.dash_clientside.set_props("timeline", { figure });
    else window.dash_clientside.set_props("graph", { children: { namespace: "dash_core_components", type: "Graph", props } });
    const wait = () => {
      const found = document.querySelector("#timeline .js-plotly-plot");
      if (!window.Plotly || !found || !found.data || found.data.length !== figure.data.length)
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
    const done = points.length;
    put($("curve-progress"), !curve ? "" :
      `Dashed: without ${$("ablated-now").textContent.replace(" ablated", "")} (${M.view.kind.replaceAll("_", " ")}), ` +
      (curve.from < curve.total ? `${done} of ${curve.total} checkpoints so far …` : `all ${curve.total} checkpoints.`));
    $("curve-progress").dataset.done = done;
    // Hidden at once by a class; emptied only when new points come, since that redraws for 30 ms.
    $("timeline")?.classList.toggle("stale", !done);
    if (!plot || !plot.data || !done) return;
    const names = M.base.evaluators, x = [], y = [], text = [], traces = [];
    names.forEach((name, i) => {
      // Step 0 is nowhere on a log axis: plotly would draw its neighbour's value to the left edge.
      const at = ([step, p]) => (M.view.unit === "steps" ? Number(step) : p.sequences);
      x.push(points.map((point) => at(point) || (M.view.axis === "log" ? null : 0)));
      y.push(points.map(([, p]) => p.values[name]));
      text.push(y[i].map((v) => D.plain(v)));
      traces.push(3 * names.length + i);
    });
    window.Plotly.restyle(plot, { x, y, text }, traces);
  };

  /* ---- taking figures along ---- */

  D.save = async (what, format) => {
    document.querySelector(".menu").open = false;
    if (format === "png" || format === "svg") {
      const answer = await fetch(`figure/${what}.json?` + M.query());
      if (!answer.ok) return M.say(await answer.text());
      const figure = await answer.json();
      const height = figure.layout.height || 450, width = 1100;
      figure.layout.width = width;
      const address = await window.Plotly.toImage(figure, { format, width, height, scale: format === "png" ? 2 : 1 });
      return download(address, `${M.view.run}-step${M.view.step}-${what}.${format}`);
    }
    const answer = await fetch(`export/${what}.${format}?` + M.query());
    if (!answer.ok) return M.say(await answer.text());
    const name = /filename="?([^";]+)/.exec(answer.headers.get("Content-Disposition") || "");
    const address = URL.createObjectURL(await answer.blob());
    download(address, name ? name[1] : `${what}.${format}`);
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  };

  function download(address, name) {
    const link = make("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
  }

  D.plotInto = (element, figure) => {
    if (!window.Plotly) return setTimeout(() => D.plotInto(element, figure), 50);
    figures.set(element, figure);
    drawnAt = size();
    const { data, layout } = grown(figure);
    window.Plotly.react(element, data, layout, CONFIG);
  };
})();
