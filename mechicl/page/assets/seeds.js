/* Several runs on one page: their list, and the figure of their curves. The server computes in pieces; what is left is
   asked for again as long as the view stays. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$;
  const make = (...parts) => D.make(...parts); // draw.js is loaded later
  const PAUSE = 150; // ms between two pieces
  const PARTS = ["over", "against", "axis", "unit"];
  let asked = null, timer = null, asking = false;

  const key = () => [M.view.run, M.view.seeds, ...PARTS.map((part) => M.view[part])].join("|");

  async function look() {
    clearTimeout(timer);
    if (!M.base || !$("seeds-figure") || asking) return;
    asking = true;
    const now = (asked = key()), base = M.base;
    let answer = {};
    try {
      answer = await (await fetch("seeds?" + M.query())).json();
    } catch {
      answer = { error: "The app does not answer. Is it still running?" };
    }
    asking = false;
    if (base !== M.base || now !== key()) return look();
    M.say(answer.error || "", "seeds");
    if (!answer.data) return;
    show(answer.data);
    if (answer.data.left) timer = setTimeout(look, PAUSE);
  }

  function show(data) {
    D.put($("seeds-count"), data.counted);
    D.put($("seeds-note"), data.note);
    $("seeds-figure").dataset.left = String(data.left);
    const list = $("seeds-list"), shape = JSON.stringify(data.runs);
    if (list.dataset.shape !== shape) {
      list.dataset.shape = shape;
      list.replaceChildren(...data.runs.map((row) => {
        const button = make("button", { className: "choice", data: { seed: row.run, formed: String(row.formed) }, title: row.run },
          make("span", { textContent: row.name }), make("small", { textContent: row.says }));
        button.setAttribute("aria-pressed", String(row.chosen));
        return button;
      }));
    }
    D.plotInto($("seeds-figure"), data.figure);
  }

  document.addEventListener("click", (event) => {
    const hit = event.target instanceof Element && event.target.closest("[data-seed]");
    if (hit && M.base) M.set({ run: hit.dataset.seed });
  });

  /* The page's script says nothing when its view changes: looked at now and then, as branches.js does. */
  setInterval(() => {
    if (!M.base || !$("seeds-figure") || !M.settled()) return;
    if (key() !== asked) look();
  }, 200);
  M.seeds = { settled: () => !asking && asked === key() && $("seeds-figure")?.dataset.left === "false" };
})();
