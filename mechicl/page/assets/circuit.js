/* The circuit of a checkpoint. Lines keep their element from checkpoint to checkpoint, so that they grow and shrink. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$, all = M.all;
  const make = (...parts) => D.make(...parts); // draw.js is loaded later
  const SAYS = { faithfulness: "the share that the circuit alone keeps, with all other paths cut", completeness: "the share that is lost when the circuit's paths are cut" };
  let shape = "", data = null;

  function svg(tag, attributes, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    element.append(...children);
    return element;
  }

  function show(came) {
    data = came;
    const panel = $("circuit-panel");
    panel.dataset.stale = String(data.edges === null);
    D.put($("circuit-says"), data.says);
    D.put($("circuit-note"), [data.baseline, data.ahead].filter(Boolean).join(" "));
    const g = ground();
    if (data.edges === null) return;
    panel.dataset.step = data.place.step;
    lines(g);
    shares();
    D.put($("circuit-random"), data.random);
    list();
    pressed();
  }

  /* ---- the graph ---- */

  /* Pixels of a head's and a row's place: as many heads as have room stand beside one another. */
  function geometry() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) / 10, narrow = M.isNarrow();
    const left = (narrow ? 1 : 84) * rem, room = $("circuit-scroll").clientWidth - left - 2;
    const across = Math.max(41 * rem, Math.min(96 * rem, room / data.heads)), down = (narrow ? 104 : 124) * rem;
    const at = (x, y) => [left + across * x, down * (y + 0.36)];
    return { rem, narrow, across, down, at, width: left + across * data.heads + 1, height: down * (data.rows.length - 1 + 0.72) };
  }

  /* Upright at every point of the course. */
  const curve = (course, at) => {
    let [x, y] = at(...course[0]), out = `M${x} ${y}`;
    for (const point of course.slice(1)) {
      const [x1, y1] = at(...point), middle = (y + y1) / 2;
      out += `C${x} ${middle} ${x1} ${middle} ${x1} ${y1}`;
      [x, y] = [x1, y1];
    }
    return out;
  };

  function ground() {
    const g = geometry(), now = JSON.stringify([g.across, g.down, data.nodes.length]);
    if (shape === now && $("circuit-graph").firstChild) return g;
    shape = now;
    const picture = svg("svg", { viewBox: `0 0 ${g.width} ${g.height}`, width: g.width, height: g.height, role: "img" });
    picture.append(svg("g", { class: "lines" }));
    const half = data.half * g.down;
    for (const node of data.nodes) {
      const [x, y] = g.at(node.x, node.y), wide = node.head ? 0.42 * g.across : Math.max(0.6 * g.across, 34 * g.rem);
      const group = svg("g", { class: "node", "data-node": node.name },
        svg("rect", { x: x - wide, y: y - half, width: 2 * wide, height: 2 * half, rx: 5 }),
        svg("text", { x, y: y + (node.head ? -1 : 5) * g.rem, class: "name" }, node.name));
      for (const [part, aside] of node.head ? Object.entries(data.ports) : [])
        group.append(svg("text", { x: x + aside * g.across, y: y + half - 5 * g.rem, class: "port" }, part));
      picture.append(group);
    }
    for (const row of data.rows) {
      const y = g.at(0, row.y)[1] + (g.narrow ? -half - 6 * g.rem : 0), [first, rest] = row.name.split(" of ");
      const text = svg("text", { x: 1, y, class: "row" }, g.narrow ? row.name : first);
      if (rest && !g.narrow) text.append(svg("tspan", { x: 1, dy: "1.2em" }, "of " + rest));
      picture.append(text);
    }
    $("circuit-graph").replaceChildren(picture);
    return g;
  }

  window.addEventListener("resize", () => {
    if (!M.base || !data?.edges || !$("circuit-graph")) return;
    lines(ground());
    pressed();
  });

  function lines(g) {
    const place = document.querySelector("#circuit-graph .lines"), there = new Map(all("[data-path]", place).map((g) => [g.dataset.path, g]));
    const ends = new Set();
    for (const edge of [...data.edges].reverse()) { // the strongest are drawn last, above the others
      const [from, to] = edge.path.split("->");
      ends.add(from).add(to.replace(/\.[qkv]$/, ""));
      let group = there.get(edge.path);
      there.delete(edge.path);
      if (!group) {
        group = svg("g", { "data-path": edge.path, class: "edge " + edge.part },
          svg("title", {}), svg("path", { d: curve(edge.course, g.at), class: "hit" }), svg("path", { d: curve(edge.course, g.at), class: "line" }));
        group.querySelector(".line").style.strokeWidth = 0;
        place.append(group);
        group.getBoundingClientRect(); // it grows from nothing
      } else place.append(group);
      group.dataset.effect = edge.effect;
      const line = group.querySelector(".line");
      line.style.strokeWidth = edge.width;
      line.style.stroke = edge.colour;
      group.querySelector("title").textContent = `${edge.path.replace("->", " → ")}: ${edge.effect} ${edge.interval} when it is cut`;
    }
    there.forEach((group) => group.remove());
    all("#circuit-graph .node").forEach((node) => node.classList.toggle("on", ends.has(node.dataset.node)));
    document.querySelector("#circuit-graph svg").setAttribute("aria-label",
      data.edges.length ? "Paths: " + data.edges.map((e) => `${e.path.replace("->", " to ")} ${e.effect}`).join(", ") : "No path");
  }

  /* ---- the numbers beside it ---- */

  function shares() {
    const rows = Object.keys(SAYS).filter((name) => data.shares[name]).map((name) => {
      const share = data.shares[name], bar = make("div", { className: "bar" });
      if (share.bar) {
        const mark = (className, left, width) => {
          const one = make("i", { className });
          one.style.left = left + "%";
          if (width !== undefined) one.style.width = width + "%";
          bar.append(one);
        };
        mark("chance", 75);
        share.others.forEach((left) => mark("other", left));
        mark("range intact", share.bar[1], share.bar[2] - share.bar[1]);
        mark("dot intact", share.bar[0]);
      }
      return make("tr", { data: { share: name } },
        make("th", { scope: "row" }, make("span", { textContent: name }), make("small", { textContent: SAYS[name] }), share.bar ? bar : null),
        make("td", {}, make("span", { textContent: share.value }), make("small", { textContent: share.interval })),
        make("td", {}, make("span", { textContent: share.random.split(" (")[0] || "–" }), make("small", { textContent: share.random.replace(/^[^(]*/, "") })));
    });
    const head = make("tr", {}, ...["", "circuit", "random"].map((textContent) => make("th", { scope: "col", textContent })));
    $("circuit-shares").replaceChildren(...(rows.length ? [make("table", { className: "numbers" }, head, ...rows)] : []));
  }

  function list() {
    const place = $("circuit-paths"), focus = document.activeElement?.dataset?.cut;
    place.replaceChildren(...data.edges.map((edge) => make("button", { className: "choice", data: { cut: edge.path } },
      make("span", { textContent: edge.path.replace("->", " → ") }), make("small", { textContent: `${edge.effect} ${edge.interval}` }))));
    if (focus) all("[data-cut]", place).find((b) => b.dataset.cut === focus)?.focus();
  }

  /* What is cut by hand, in the list and in the graph. */
  function pressed() {
    const cut = new Set(M.items("path"));
    all("#circuit-paths [data-cut]").forEach((button) => {
      button.setAttribute("aria-pressed", String(cut.has(button.dataset.cut)));
      button.setAttribute("aria-label", `${button.textContent}: ${cut.has(button.dataset.cut) ? "put it back" : "cut it"}`);
    });
    all("#circuit-graph [data-path]").forEach((group) => group.classList.toggle("cut", cut.has(group.dataset.path)));
  }

  const toggle = (path) => (M.items("path").includes(path) ? M.drop("path", path) : M.set(M.added("path", path)));

  document.addEventListener("click", (event) => {
    const hit = M.base && event.target instanceof Element && event.target.closest("[data-cut],#circuit-graph [data-path]");
    if (hit) toggle(hit.dataset.cut ?? hit.dataset.path);
  });

  /* ---- the threshold ---- */

  const stops = () => $("threshold-place").dataset.stops.split(",");
  const nearest = () => {
    const far = stops().map((stop) => Math.abs(Math.log(stop / M.view.threshold)));
    return far.indexOf(Math.min(...far));
  };

  function threshold() {
    const place = $("threshold-place");
    if (!place.firstChild) {
      const slider = make("input", { type: "range", id: "threshold-input", min: 0, max: stops().length - 1, step: 1 });
      slider.setAttribute("aria-label", "Smallest effect that is drawn");
      place.append(slider);
    }
    const slider = $("threshold-input");
    slider.value = nearest();
    D.passed(slider);
    const text = String(M.view.threshold).replace(/^0\./, ".");
    slider.setAttribute("aria-valuetext", text);
    D.put($("threshold-text"), text);
  }

  document.addEventListener("input", (event) => {
    if (M.base && event.target.id === "threshold-input") M.set({ threshold: stops()[Number(event.target.value)] });
  });

  /* ---- when ---- */

  let shown = null;
  function follow() {
    const now = `${M.view.path}|${M.view.threshold}`;
    if (now === shown) return;
    shown = now;
    threshold();
    pressed();
  }

  const failed = (error) => {
    D.put($("circuit-says"), error);
    data = null;
    for (const place of ["circuit-graph", "circuit-shares", "circuit-paths"]) $(place).replaceChildren();
    for (const place of ["circuit-random", "circuit-note"]) D.put($(place), "");
  };

  const asked = M.inPieces({ name: "circuit", parts: ["run", "step", "evaluator", "kind", "threshold"], show, follow, failed });
  M.circuit = { settled: () => asked.settled() && asked.data().edges !== null, data: asked.data };
})();
