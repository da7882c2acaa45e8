/* Patterns and logits: the panels below the fold. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$, make = D.make;
  const SVG = "http://www.w3.org/2000/svg";
  let last = null; // the attention on the page, to redraw when one head is chosen

  function svg(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const name in attributes) element.setAttribute(name, attributes[name]);
    element.append(...children);
    return element;
  }

  const MANY = 40; // positions; more are drawn as one picture: an element for each pair would be too many for a browser
  const shade = (v, low) => Math.round(Math.max(0, Math.min(1, (v - low) / (1 - low))) * 100);
  const pair = (tokens, i, j, v) => `${tokens[i].name} → ${tokens[j].name}: ${D.plain(v)}`;

  /* The numbers of colours, as the page shows them now: they have a light and a dark side. */
  function resolved(colours) {
    const probe = document.body.appendChild(make("i", { hidden: true }));
    const found = colours.map((colour) => {
      probe.style.color = colour;
      return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
    });
    probe.remove();
    return found;
  }

  /* A long pattern: a pixel for each pair; what a pair is stands in the title where the pointer is. */
  function picture(values, tokens, colours, low, size) {
    const t = values.length, numbers = resolved(colours);
    const drawing = make("canvas", { width: t, height: t, className: "pattern picture" });
    drawing.style.width = size / 10 + "rem";
    const context = drawing.getContext("2d"), pixels = context.createImageData(t, t);
    for (let i = 0; i < t; i++) {
      for (let j = 0; j <= i; j++) pixels.data.set([...numbers[shade(values[i][j] / 1000, low)], 255], 4 * (i * t + j));
    }
    context.putImageData(pixels, 0, 0);
    drawing.addEventListener("pointermove", (event) => {
      const [j, i] = [event.offsetX, event.offsetY].map((at) => Math.min(t - 1, Math.floor((at / drawing.clientWidth) * t)));
      drawing.title = i < 0 || j < 0 || j > i ? "" : pair(tokens, i, j, values[i][j] / 1000);
    });
    return drawing;
  }

  /* One pattern, t x t in thousandths; colours from a list of 101 over a fixed range, each for light and dark. */
  D.pattern = pattern;
  function pattern(values, tokens, colours, low, size, labels) {
    if (values.length > MANY) return picture(values, tokens, colours, low, size);
    const t = values.length, small = size < 200, left = labels ? (small ? 16 : 52) : 0, below = labels ? (small ? 12 : 26) : 0;
    const each = (size - left) / t;
    const drawing = svg("svg", { viewBox: `0 0 ${size} ${t * each + below}`, width: size / 10 + "rem", class: "pattern" + (small ? " small" : "") });
    for (let i = 0; i < t; i++) {
      for (let j = 0; j <= i; j++) {
        const v = values[i][j] / 1000;
        const colour = colours[shade(v, low)];
        const box = svg("rect", { x: left + j * each + 0.5, y: i * each + 0.5, width: each - 1, height: each - 1 });
        box.style.fill = colour;
        const title = svg("title", {});
        title.textContent = pair(tokens, i, j, v);
        box.append(title);
        drawing.append(box);
      }
      if (labels) {
        const row = svg("text", { x: left - (small ? 3 : 6), y: (i + 0.62) * each, "text-anchor": "end" });
        const column = svg("text", { x: left + (i + 0.5) * each, y: t * each + (small ? 9 : 16), "text-anchor": "middle" });
        row.textContent = column.textContent = small && tokens[i].name === "query" ? "q" : tokens[i].name;
        drawing.append(row);
        if (each >= 14 || i % 2 === 0) drawing.append(column); // every second one, where not all have room
      }
    }
    return drawing;
  }

  function marks(list) {
    return list.map((mark) => make("mark", { className: mark.replace(" ", "-"), textContent: mark }));
  }

  /* A scale's colours, left to right. */
  D.gradient = (colours) => `linear-gradient(to right,${colours.join(",")})`;

  /* What the colours of patterns mean: their fixed scales, with ends. */
  D.scales = (change) => {
    const bar = (meaning, low, high, says) => {
      const ground = make("i", {});
      ground.style.background = D.gradient(M.base.colours[meaning].page.filter((_, i) => i % 10 === 0));
      return make("span", { className: "colours" }, low, ground, high + " " + says);
    };
    return [bar("attention", "0", "1", "attention"), change ? bar("change", "−1", "+1", change) : ""];
  };

  /* A row per layer while its heads have room beside one another; a card with several patterns of
     many heads has them below one another. */
  D.arrange = (place, heads, compared, one) => {
    const rows = heads <= 8;
    place.className = "patterns" + (one ? " one" : "") + (compared ? " compared" : "") + (heads > 4 ? " stacked" : "");
    place.style.gridTemplateColumns = rows && !one ? `repeat(${heads}, minmax(0, 1fr))` : "";
  };

  D.tokens = (list) =>
    list.map((t) =>
      make("div", { className: "token" + (t.label ? " label" : "") + (t.match ? " match" : "") },
        make("small", { textContent: t.name }),
        t.image ? make("img", { src: t.image, alt: t.text, title: t.text }) : make("span", { textContent: t.text || "·" }),
        ...marks(t.marks)));

  D.attention = (data) => {
    last = data;
    $("tokens").replaceChildren(...D.tokens(data.tokens));
    $("answers").replaceChildren(...data.answers.map(([mark, text]) => make("span", {}, ...marks([mark]), " " + text)));
    drawPatterns();
    if ($("circuitsvis-toggle").getAttribute("aria-pressed") === "true") D.circuitsvis(false);
  };

  D.noAttention = () => {
    last = null;
    for (const id of ["tokens", "answers", "patterns", "circuitsvis", "attention-note"]) $(id).replaceChildren();
  };

  function drawPatterns() {
    if (!last) return;
    const data = last, one = M.view.head || "", compared = data.ablated !== null;
    const cards = [];
    let moved = false; // whether a difference is drawn
    data.intact.forEach((heads, layer) =>
      heads.forEach((intact, head) => {
        const id = `${layer}.${head}`;
        if (one && one !== id) return;
        const size = one ? (compared ? 330 : 420) : 142;
        const labels = Boolean(one) || data.tokens.length <= 9;
        // What an ablation cannot change is drawn once, with the reason: a difference of nothing is no finding.
        const { attention, change } = M.base.colours, same = data.same[id];
        const sides = [[same ? "intact and ablated" : "intact", intact, attention.page, 0]];
        if (compared && !same) {
          const after = data.ablated[layer][head];
          const gap = after.map((row, i) => row.map((v, j) => v - intact[i][j]));
          sides.push(["ablated", after, attention.page, 0], ["difference", gap, change.page, -1]);
          moved = true;
        }
        const drawn = sides.map(([name, values, colours, low]) =>
          make("figure", {}, pattern(values, data.tokens, colours, low, size, labels),
            compared || one ? make("figcaption", { textContent: name }) : null));
        const name = `L${layer}H${head}`;
        const out = M.heads().has(id);
        const card = make("button", { className: "card" + (out ? " out" : ""), title: one ? "Back to all heads" : `Enlarge ${name}`,
          data: { set: "head", to: one ? "" : id } },
          make("strong", { textContent: name + (out ? " (ablated)" : "") }), make("div", { className: "sides" }, ...drawn),
          same ? make("p", { className: "same", textContent: same }) : null);
        cards.push(card);
      }));
    D.arrange($("patterns"), M.base.heads, compared, one);
    $("patterns").replaceChildren(...cards);
    $("attention-note").replaceChildren(`Attention from rows to columns, ${data.what}. ${data.note} `,
      ...D.scales(moved && "difference (ablated − intact)"));
  }

  D.drawPatterns = drawPatterns;

  const controls = D.controls;
  let shownHead = "";
  D.controls = () => {
    controls();
    if (shownHead !== (M.view.head || "")) {
      shownHead = M.view.head || "";
      drawPatterns();
      D.compareHeads();
      if ($("circuitsvis-toggle").getAttribute("aria-pressed") === "true") D.circuitsvis(false);
    }
  };

  /* The same data in circuitsvis: a page of its own in a frame; its script comes from this app, once. */
  D.circuitsvis = (change) => {
    const button = $("circuitsvis-toggle");
    let on = button.getAttribute("aria-pressed") === "true";
    if (change) on = !on;
    button.setAttribute("aria-pressed", String(on));
    $("patterns").hidden = $("attention-note").hidden = on; // its colours are others, and it says itself what it shows
    if (!on) return $("circuitsvis").replaceChildren();
    const address = "circuitsvis?" + M.query();
    const frame = $("circuitsvis").querySelector("iframe");
    if (frame && frame.dataset.address === address) return;
    const made = make("iframe", { src: address, title: "Attention in circuitsvis", data: { address } });
    // As tall as what is in it, which grows as it is drawn and as the window changes: nothing to scroll inside.
    made.addEventListener("load", () => {
      const inside = made.contentDocument?.body;
      if (!inside) return;
      inside.style.margin = "8px";
      new ResizeObserver(() => (made.style.height = inside.scrollHeight + 24 + "px")).observe(inside);
    });
    $("circuitsvis").replaceChildren(made);
  };

  /* ---- logits ---- */

  function bar(side, name) {
    if (!side) return null;
    const fill = make("i", {});
    fill.style.width = side.share + "%";
    return make("div", { className: "chance-bar " + name }, fill,
      make("span", { textContent: side.says }));
  }

  D.noLogits = () => {
    window.Plotly?.purge($("logits"));
    for (const id of ["logits-labels", "logits", "logits-note"]) $(id).replaceChildren();
  };

  D.logits = (data) => {
    const rows = data.labels.map((row) =>
      make("tr", {}, make("th", { scope: "row" }, row.label + " ", ...marks(row.marks)),
        make("td", {}, bar(row.intact, "intact")), row.ablated ? make("td", {}, bar(row.ablated, "ablated")) : null));
    const compared = data.labels.some((row) => row.ablated);
    const head = make("tr", {}, make("th", { textContent: data.answer }), make("th", { textContent: "intact" }),
      compared ? make("th", { textContent: "ablated" }) : null);
    // Two columns of averages need no width of their own.
    $("logits").style.maxWidth = 22 + (compared ? 2 : 1) * Math.max(2, data.labels.length) * 11 + "rem";
    $("logits-labels").replaceChildren(make("table", { className: "labels" }, head, ...rows));
    D.plotInto($("logits"), data.figure);
    $("logits-note").textContent = `Logits relative to the mean logit of all ${data.answer}s, ${data.what}; p is over all ${data.answer}s. ` +
      `Green raises ${data.answer === "answer" ? "an" : "a"} ${data.answer}, magenta lowers it, full at ±${data.limit}: the largest part shown, rounded up. A column sums to its logit.`;
  };
})();
