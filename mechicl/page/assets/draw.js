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
  D.put = put;

  /* .598, −.012: numbers as texts.py writes them. */
  D.plain = (v, digits = 3) => (Number(v.toFixed(digits)) || 0).toFixed(digits).replace("-", "−").replace(/^(−?)0(?=\.\d*[1-9])/, "$1");

  /* ---- once ---- */

  D.setUp = () => {
    const slider = make("input", { type: "range", id: "slider-input", min: 0, step: 1 });
    slider.setAttribute("aria-label", "Checkpoint");
    $("slider").replaceChildren(slider);
    const sequence = make("input", { type: "number", id: "sequence-input", min: 0 });
    sequence.setAttribute("aria-label", "Number of the sequence");
    $("sequence-place").replaceChildren(sequence);
    document.title = M.view.run + " · mechicl";
    D.steps();
    D.theme(false);
    D.hints(false);
  };

  /* The run's checkpoints, at first and when there are more. */
  D.steps = () => ($("slider-input").max = M.base.steps.length - 1);

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
    if (change) for (const again of [D.redrawn, D.drawPatterns, D.compareHeads]) again();
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

  const named = (D.named = (evaluator) => document.querySelector(`[data-set="evaluator"] option[value="${evaluator}"]`).textContent);

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
    put($("where"), `${where} · ${(i + 1).toLocaleString("en")} of ${base.steps.length.toLocaleString("en")}`);
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
    all("button[data-mlp]").forEach((button) => {
      const out = M.items("mlp").includes(button.dataset.mlp);
      button.setAttribute("aria-pressed", String(out));
      button.setAttribute("aria-label", `L${button.dataset.mlp} MLP` + (out ? ", ablated" : ", intact"));
    });
    const sequence = $("sequence-input");
    sequence.max = base.sizes[view.evaluator] - 1;
    sequence.placeholder = `0–${sequence.max}`;
    if (document.activeElement !== sequence) sequence.value = view.sequence ?? "";
    const names = D.out(), done = M.done();
    put($("ablated-now"), names.length ? names.join(" ") + " ablated" : done ? "" : "Nothing is ablated: click a head.");
    $("ablated-now").classList.toggle("some", names.length > 0);
    const kind = base.kinds[view.kind];
    put($("kind-note"), kind.meaning);
    put($("baseline-note"), `Baseline: ${kind.baseline}. Applied at hook_z, a head's output before W_O${$("grid").querySelector(".mlp") ? ", and at an MLP's hook_mlp_out" : ""}.`);
    const m = base.measures[view.measure];
    const model = done && m.edited ? `the model ${D.doneText()}` : "the intact model";
    put($("measure-note"), `${m.meaning} In ${model}` + (m.on ? `, on ${named(view.evaluator)} sequences.` : `; kind: ${view.kind.replaceAll("_", " ")}.`));
    // A control that does nothing is not shown.
    const on = document.querySelector('#heads-panel [data-set="evaluator"]');
    on.closest(".select").hidden = !m.on;
    all("option", on).forEach((option) => (option.disabled = m.undefined.includes(option.value)));
    document.querySelector('[data-do="clear"]').hidden = !done;
    all("[data-tab]").forEach((region) => (region.hidden = region.dataset.tab !== view.tab));
    $("effect").classList.toggle("none", !done);
  };

  D.playing = (on) => {
    const button = document.querySelector('[data-do="play"]');
    put(button, on ? "❚❚" : "▶");
    button.setAttribute("aria-label", on ? "Pause" : "Play");
  };

  /* No number of another view stands where one has failed. */
  const LEFT = {
    heads: () => all("#grid .head").forEach((button) => {
      put(button.querySelector(".score"), "–");
      put(button.querySelector(".beside"), "");
      button.classList.remove("clear");
      $("scale").replaceChildren();
      button.style.setProperty("--ground", "transparent");
      button.style.setProperty("--ink-here", "var(--ink)");
      button.title = "";
    }),
    effect: () => {
      all("[data-cell]").forEach((c) => put(c, c.dataset.cell.endsWith("_ci") ? "" : "–"));
      all("#effect .dot, #effect .range").forEach((mark) => (mark.hidden = true));
      all("#effect .clear").forEach((row) => row.classList.remove("clear"));
      put($("effect-where"), "");
      put($("effect-note"), ""); // what it says of controls is of the numbers that were here
    },
    attention: () => D.noAttention(), logits: () => D.noLogits(), compare: () => D.noComparison(),
  };
  D.failed = (name) => LEFT[name]?.();

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
    put($("effect-note"), M.done() ? "" : "Click a head below to see what changes without it.");
    for (const name in data.rows) put(cell(`${name}.controls_ci`), "");
  };

  /* What the same done to random others changes. */
  D.random = (data) => {
    for (const name in data.rows) put(cell(`${name}.controls_ci`), data.rows[name]);
    put($("effect-note"), data.says);
  };

  D.grid = (data) => {
    for (const c of [...data.cells, ...data.mlps]) {
      const button = document.querySelector(c.mlp === undefined ? `button[data-head="${c.head}"]` : `button[data-mlp="${c.mlp}"]`);
      put(button.querySelector(".score"), c.text);
      put(button.querySelector(".beside"), c.beside && "vs " + c.beside);
      button.classList.toggle("clear", c.clear);
      button.style.setProperty("--ground", c.ground || "transparent");
      button.style.setProperty("--ink-here", c.ink || "var(--ink)");
      button.title = c.says + ". Click to ablate" + (c.mlp === undefined ? "; shift-click for only this head." : ".");
    }
    $("scale").replaceChildren(D.legend(data.scale, data.n));
  };

  /* The range of a grid's colours. */
  D.legend = (scale, n) => {
    const ground = make("i", {});
    ground.style.background = D.gradient(scale.colours);
    return make("span", { className: "legend" }, make("span", { className: "colours" }, scale.low, ground, scale.high),
      make("span", { className: "scale-unit", textContent: scale.unit + (n ? `, n = ${n.toLocaleString("en")} sequences` : "") +
        (scale.says && "; " + scale.says) }));
  };
})();
