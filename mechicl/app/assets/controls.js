/* What people do: presses, keys and choices, each turned into a change of the view. */
(function () {
  "use strict";
  const M = window.mechicl, $ = M.$;

  const act = {
    play: () => M.play(), clear: () => M.set({ heads: "" }), back: () => M.go(M.index() - 1), next: () => M.go(M.index() + 1),
    theme: () => M.draw.theme(true), hints: () => M.draw.hints(true), close: () => $("code").close(),
    circuitsvis: () => M.draw.circuitsvis(true),
    link: () => copy(window.location.origin + window.location.pathname + "?" + M.query(), "The link is copied."),
    python: async () => {
      const text = await (await fetch("python?" + M.query())).text();
      $("python").textContent = text;
      $("copied").hidden = !(await copy(text, ""));
      $("code").showModal();
    },
  };

  async function copy(text, done) {
    try {
      await navigator.clipboard.writeText(text);
      if (done) M.say(done);
      return true;
    } catch {
      if (done) M.say(text); // no clipboard here: show it, to copy by hand
      return false;
    }
  }

  document.addEventListener("click", (event) => {
    if (!M.base || !(event.target instanceof Element)) return;
    const menu = document.querySelector(".menu[open]");
    if (menu && !menu.contains(event.target)) menu.open = false;
    const hit = event.target.closest("[data-head],[data-layer],[data-set][data-to],[data-do],[data-export],[data-dismiss]");
    if (!hit) return;
    const d = hit.dataset;
    if (d.head !== undefined) M.toggle(d.head, event.shiftKey);
    else if (d.layer !== undefined) M.toggleLayer(d.layer);
    else if (d.set !== undefined) M.set({ [d.set]: d.to });
    else if (d.do !== undefined) act[d.do]();
    else if (d.export !== undefined) M.draw.save(d.export, d.format);
    else if (d.dismiss !== undefined) M.draw.dismiss(d.dismiss);
  });

  document.addEventListener("change", (event) => {
    const t = event.target;
    if (!M.base || !(t instanceof Element)) return;
    if (t.tagName === "SELECT" && t.dataset.set) M.set({ [t.dataset.set]: t.value });
    if (t.id === "sequence-input") {
      const most = M.base.sizes[M.view.evaluator] - 1;
      M.set({ sequence: t.value === "" ? "" : String(Math.max(0, Math.min(most, Math.round(Number(t.value))))) });
    }
  });

  document.addEventListener("input", (event) => {
    if (!M.base) return;
    if (event.target.id === "slider-input") M.go(Number(event.target.value));
    if (event.target.type === "range") M.draw.passed(event.target);
    if (event.target.id === "with-input") M.set({ with_step: String(M.draw.withSteps[Number(event.target.value)]) });
  });

  /* Who is about to press rests on it first: its numbers are computed meanwhile. */
  document.addEventListener("pointermove", (event) => {
    const t = event.target;
    if (!M.base || event.buttons || !(t instanceof Element)) return;
    const head = t.closest("button[data-head]");
    if (head) return M.perhapsToggle(head.dataset.head);
    if (t.id !== "slider-input") return;
    const box = t.getBoundingClientRect(), last = M.base.steps.length - 1, thumb = box.height; // app.css makes it round
    const share = (event.clientX - box.left - thumb / 2) / (box.width - thumb); // as the browser places its thumb
    M.perhaps({ step: M.base.steps[Math.max(0, Math.min(last, Math.round(share * last)))] });
  });

  document.addEventListener("keydown", (event) => {
    if (!M.base || event.ctrlKey || event.metaKey || event.altKey || $("code")?.open) return;
    const t = event.target;
    const head = t instanceof Element && t.closest("[data-head]");
    if (head && event.shiftKey && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      return M.toggle(head.dataset.head, true);
    }
    const typing = t instanceof Element && (t.matches("select,textarea,[type=number],#with-input"));
    const moves = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 };
    if (!typing && event.key in moves) {
      if (event.key.startsWith("Page") && t.id !== "slider-input") return; // elsewhere they scroll
      event.preventDefault();
      M.go(M.index() + moves[event.key]);
    } else if (!typing && t.id === "slider-input" && (event.key === "Home" || event.key === "End")) {
      event.preventDefault();
      M.go(event.key === "Home" ? 0 : M.base.steps.length - 1);
    } else if (event.key === " " && !typing && !(t instanceof Element && t.closest("button,a,summary"))) {
      event.preventDefault();
      M.play();
    } else if (event.key === "Escape" && !typing && M.view.heads) act.clear();
  });
})();
