/* 'Train on from here': what is asked for, the list of branches, their curves over the timeline, and the run itself while
   it is trained. Nothing is kept here: the server's answer has all of it, so a page that was closed loses nothing.

   The server is asked once when a page is opened, then again only as long as something is going on. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$;
  const make = (...parts) => D.make(...parts); // draw.js is loaded later
  const EVERY = 1000; // ms between two looks while something is going on
  const GOING = ["running", "waiting"];
  const ACTIONS = {
    running: ["pause", "stop", "discard"], waiting: ["pause", "stop", "discard"], paused: ["resume", "stop", "discard"],
    stopped: ["resume", "keep", "discard"], failed: ["resume", "discard"], finished: ["keep", "discard"],
  };
  const SAYS = { resume: "Resume", pause: "Pause", stop: "Stop", keep: "Keep", discard: "Discard" };
  let base = null, data = null, hidden = new Set(), timer = null, asking = false, listed = "";

  async function post(address, body) {
    try {
      const headers = { "Content-Type": "application/json", "X-Mechicl": "1" };
      const answer = await (await fetch(address, { method: "POST", headers, body: JSON.stringify(body) })).json();
      if (answer.error !== undefined) M.say(answer.error);
      return answer;
    } catch {
      M.say(M.SILENT);
      return {};
    }
  }

  async function look() {
    clearTimeout(timer);
    if (!M.base || asking) return;
    asking = true;
    const asked = M.base, answer = await M.reply("branches?" + M.query());
    let lost = answer.lost;
    if (asked === M.base && answer.data) {
      data = answer.data;
      show();
      document.dispatchEvent(new Event("mechicl-branches")); // family.js waits for it
      if (data.run.checkpoints > M.base.steps.length) lost = await grown(asked);
    }
    asking = false;
    if (asked !== M.base) return look();
    if (lost) timer = setTimeout(look, M.LATER);
    else if (data && (data.run.training || data.rows.some((row) => GOING.includes(row.state)))) timer = setTimeout(look, EVERY);
  }

  /* The run has more checkpoints than the page knows. Returns whether what there is now was asked for in vain. */
  async function grown(asked) {
    const answer = await M.reply("branches/base?" + M.query());
    if (!answer.data || asked !== M.base) return answer.lost;
    M.grow(answer.data);
    if (data.run.complete) for (const facts of M.all(".facts")) facts.textContent = facts.textContent.replace(" · not finished", "");
    return false;
  }

  /* ---- the control ---- */

  const input = (place, type, id, label) => {
    const from = $(place);
    if (!from || from.firstChild) return;
    const made = make("input", { type, id, ...from.dataset });
    for (const [name, value] of Object.entries(from.dataset)) made.setAttribute(name, value);
    made.setAttribute("aria-label", label);
    from.append(made);
  };

  function wanted() {
    const way = $("branch-way").value;
    return {
      way, fresh: $("branch-fresh").checked, steps: $("branch-steps").value,
      ...(way === "clamp" ? { pattern: $("branch-pattern").value, strength: $("branch-strength").value } : {}),
    };
  }

  function choices() {
    const heads = M.view.heads ? String(M.view.heads) : "", way = $("branch-way").value;
    $("branch-held").hidden = way !== "clamp";
    const needs = way === "without" || way === "clamp";
    $("branch-start").disabled = needs && !heads;
    const from = `From step ${Number(M.view.step).toLocaleString("en")}`;
    D.put($("branch-note"), (needs ? (heads ? `${from}, heads ${heads.replaceAll(",", ", ")}.` : "Click heads in the grid first.") : `${from}.`) +
      (data && data.note ? " " + data.note : ""));
  }

  async function start() {
    $("branch-start").disabled = true;
    const answer = await post("branches/start?" + M.query(), wanted());
    choices();
    if (answer.data) look();
  }

  async function act(verb, name) {
    if (verb === "discard" && !window.confirm(`Delete the branch ${name} and all of its files?`)) return;
    await post("branches/act/" + verb, { name });
    look();
  }

  /* ---- the list ---- */

  function show() {
    const list = $("branches");
    if (!list) return;
    const rows = data.rows, going = rows.filter((row) => GOING.includes(row.state)).length;
    const parts = ["Train on from here"];
    if (data.parent) parts.push(`a branch of ${data.parent}`);
    if (rows.length) parts.push(`${rows.length} branch${rows.length > 1 ? "es" : ""}${going ? `, ${going} going on` : ""}`);
    if (data.run.training) parts.push(`this run is being trained: step ${data.run.last.toLocaleString("en")} of ${data.run.of.toLocaleString("en")}`);
    D.put(document.querySelector("#train-on > summary"), parts.join(" · "));
    choices();
    const shape = JSON.stringify(rows.map((row) => [row.name, row.state, row.queued, row.opens, row.done]));
    if (shape !== listed || list.childElementCount !== rows.length) {
      listed = shape;
      const focus = document.activeElement?.dataset?.branchAct, whose = document.activeElement?.dataset?.of;
      list.replaceChildren(...rows.map(item));
      if (focus) M.all("[data-branch-act]", list).find((b) => b.dataset.of === whose && b.dataset.branchAct === focus)?.focus();
    }
    rows.forEach((row, i) => {
      const at = list.children[i];
      D.put(at.querySelector(".says"), [row.says, row.state === "running" && !row.says ? "begins" : row.state, row.equal, row.error].filter(Boolean).join(" · "));
      at.querySelector("progress").value = row.share ?? 0;
    });
    draw();
  }

  function item(row) {
    const drawn = make("input", { type: "checkbox", checked: !hidden.has(row.name) });
    drawn.setAttribute("aria-label", `Draw ${row.name}`);
    drawn.addEventListener("change", () => {
      drawn.checked ? hidden.delete(row.name) : hidden.add(row.name);
      draw();
    });
    const name = row.opens ? make("a", { href: "?run=" + encodeURIComponent(row.name), textContent: row.name }) : make("span", { textContent: row.name });
    const what = make("small", { textContent: row.at === null || row.at === undefined ? row.command || "" : `from step ${row.at.toLocaleString("en")}: ${row.done}` });
    const bar = make("progress", { max: 1, value: 0, hidden: !GOING.includes(row.state) && row.state !== "paused" });
    bar.setAttribute("aria-label", `How far ${row.name} is`);
    const buttons = (row.queued ? ACTIONS[row.state] : []).map((verb) => {
      const button = make("button", { textContent: SAYS[verb], data: { branchAct: verb, of: row.name } });
      button.setAttribute("aria-label", `${SAYS[verb]} ${row.name}`);
      return button;
    });
    const mine = make("li", { data: { branch: row.name, state: row.state } }, drawn, make("span", { className: "what" }, name, what),
      bar, make("span", { className: "says" }), make("span", { className: "actions" }, ...buttons));
    return mine;
  }

  /* ---- the curves ---- */

  const canvas = () => document.querySelector("#timeline .js-plotly-plot");

  function draw() {
    const plot = canvas();
    if (!data || !plot || !plot.data || !window.Plotly || M.base !== base) return;
    const names = M.base.evaluators, wantedTraces = [];
    for (const row of data.rows) {
      if (hidden.has(row.name)) continue;
      names.forEach((name, i) => {
        const points = row.curves[name], own = plot.data[3 * i + 2];
        if (!points || !points.steps.length || !own) return;
        const x = (M.view.unit === "steps" ? points.steps : points.sequences).map((v) => v || (M.view.axis === "log" ? null : 0));
        wantedTraces.push({
          x, y: points.values, text: points.values.map((v) => D.plain(v)), hovertemplate: "%{text}", mode: "lines",
          name: `${own.name}, ${row.name}`, legendgroup: own.legendgroup, showlegend: false, meta: "branch " + row.name,
          line: { color: own.line.color, width: own.line.width ?? 2, dash: "dashdot" },
        });
      });
    }
    const there = plot.data.map((trace, i) => [trace, i]).filter(([trace]) => String(trace.meta ?? "").startsWith("branch "));
    const same = there.length === wantedTraces.length && there.every(([trace], i) => trace.meta === wantedTraces[i].meta && trace.name === wantedTraces[i].name);
    if (same && there.every(([trace], i) => trace.x.length === wantedTraces[i].x.length && trace.x[0] === wantedTraces[i].x[0])) return;
    if (same) {
      const part = (key) => wantedTraces.map((trace) => trace[key]);
      window.Plotly.restyle(plot, { x: part("x"), y: part("y"), text: part("text") }, there.map(([, i]) => i));
      return;
    }
    if (there.length) window.Plotly.deleteTraces(plot, there.map(([, i]) => i));
    if (wantedTraces.length) window.Plotly.addTraces(plot, wantedTraces);
  }

  /* ---- when ---- */

  document.addEventListener("click", (event) => {
    if (!M.base || !(event.target instanceof Element)) return;
    const hit = event.target.closest("[data-branch-act]");
    if (hit) act(hit.dataset.branchAct, hit.dataset.of);
    else if (event.target.id === "branch-start") start();
  });
  document.addEventListener("change", (event) => event.target instanceof Element && event.target.matches("[data-branch]") && choices());

  /* The page's script says nothing when it begins anew or draws the timeline anew: looked at now and then. */
  let heads = null, drawnIn = null;
  setInterval(() => {
    if (!M.base || !$("train-on")) return;
    input("branch-strength-place", "number", "branch-strength", "Strength, 0 to 1");
    input("branch-steps-place", "number", "branch-steps", "To step");
    input("branch-fresh-place", "checkbox", "branch-fresh", "New optimiser");
    if (M.base !== base && M.settled()) {
      if (base === null || !data) hidden = new Set();
      base = M.base;
      listed = "";
      look();
    }
    const now = `${M.view.heads}|${M.view.step}`;
    if (now !== heads && $("branch-fresh")) {
      heads = now;
      choices();
    }
    const plot = canvas(), shape = plot && plot.data && `${plot.data.length}|${M.view.unit}|${M.view.axis}`;
    if (data && shape && shape !== drawnIn) {
      draw();
      drawnIn = plot.data && `${plot.data.length}|${M.view.unit}|${M.view.axis}`;
    }
  }, 200);
  const without = (traces) => traces.filter((trace) => !String(trace.meta ?? "").startsWith("branch "));
  M.branches = { look, without, rows: () => (data ? data.rows : []) };
})();
