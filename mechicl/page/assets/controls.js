/* What people do: clicks, keys and choices, each turned into a change of the view. */
(function () {
  "use strict";
  const M = window.mechicl, $ = M.$;

  const act = {
    play: () => M.play(), undo: () => M.travel(-1), redo: () => M.travel(1), clear: () => M.clear(), back: () => M.go(M.index() - 1), next: () => M.go(M.index() + 1),
    theme: () => M.draw.theme(true), hints: () => M.draw.hints(true), close: () => $("code").close(),
    circuitsvis: () => M.draw.circuitsvis(true),
    skip: () => (current() || $("grid").querySelector("button")).focus(),
    link: () => copy(window.location.origin + window.location.pathname + "?" + M.query(), "The link is copied."),
    python: async () => {
      const answer = await fetch("python?" + M.query()).catch(() => null);
      if (!answer) return M.say(M.SILENT);
      const text = await answer.text();
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
    const hit = event.target.closest("[data-head],[data-mlp],[data-drop],[data-layer],[data-set][data-to],[data-do],[data-export],[data-dismiss]");
    if (!hit) return;
    const d = hit.dataset;
    if (d.head !== undefined) M.toggle(d.head, event.shiftKey);
    else if (d.mlp !== undefined) M.toggleMlp(d.mlp);
    else if (d.drop !== undefined) M.draw.drop(hit);
    else if (d.layer !== undefined) M.toggleLayer(d.layer);
    else if (d.set !== undefined) M.set({ [d.set]: d.to });
    else if (d.do !== undefined) (act[d.do] || M.edits[d.do])();
    else if (d.export !== undefined) M.draw.save(d.export, d.format);
    else if (d.dismiss !== undefined) M.draw.dismiss(d.dismiss);
  });

  document.addEventListener("change", (event) => {
    const t = event.target;
    if (!M.base || !(t instanceof Element)) return;
    if (t.tagName === "SELECT" && t.dataset.set) M.set({ [t.dataset.set]: t.value });
    if (t.id === "sequence-input") {
      const most = M.base.sizes[M.view.evaluator] - 1, asked = t.value === "" ? "" : String(Math.round(Number(t.value)));
      const sequence = asked === "" ? "" : String(Math.max(0, Math.min(most, Number(asked))));
      M.set({ sequence });
      t.value = sequence; // it has the focus still, and would go on naming another one
      if (sequence !== asked) M.say(`${M.draw.named(M.view.evaluator)} has sequences 0 to ${most.toLocaleString("en")}.`);
    }
  });

  /* What one click, hold or drag changes is undone at once. */
  let holding = null;
  document.addEventListener("pointerdown", (event) => event.target.type === "range" && M.gesture((holding = {})));
  for (const end of ["pointerup", "pointercancel"])
    document.addEventListener(end, () => {
      if (holding) setTimeout(() => M.gesture((holding = null))); // after the slider's last event
    });
  document.addEventListener("keyup", () => holding && M.gesture((holding = null)));

  document.addEventListener("input", (event) => {
    if (!M.base) return;
    if (event.target.id === "slider-input") M.go(Number(event.target.value));
    if (event.target.type === "range") M.draw.passed(event.target);
    if (event.target.id === "with-input") M.set({ with_step: String(M.draw.withSteps[Number(event.target.value)]) });
  });

  /* Who is about to click rests on it first: its numbers are computed meanwhile. */
  document.addEventListener("pointermove", (event) => {
    const t = event.target;
    if (!M.base || event.buttons || !(t instanceof Element)) return;
    const head = t.closest("button[data-head]");
    if (head) return M.perhapsToggle(head.dataset.head);
    const mlp = t.closest("button[data-mlp]");
    if (mlp) return M.perhapsMlp(mlp.dataset.mlp);
    if (t.id !== "slider-input") return;
    const box = t.getBoundingClientRect(), last = M.base.steps.length - 1, thumb = box.height; // app.css makes it round
    const share = (event.clientX - box.left - thumb / 2) / (box.width - thumb); // as the browser places its thumb
    M.perhaps({ step: M.base.steps[Math.max(0, Math.min(last, Math.round(share * last)))] });
  });

  /* The grid is one stop of the Tab key; arrows go from head to head, and its buttons remember the last one. */
  const current = () => $("grid").querySelector('button[tabindex="0"]');
  function stand(button) {
    const before = current();
    if (before) before.tabIndex = -1;
    button.tabIndex = 0;
  }
  document.addEventListener("focusin", (event) => {
    const button = event.target instanceof Element && event.target.closest("#grid button");
    if (button) stand(button);
  });

  /* Where an arrow leads from a button of the grid: along its row, or to the next row's same place. */
  function beside(button, key) {
    const rows = M.all("#grid .row").map((row) => M.all("button", row));
    const r = rows.findIndex((row) => row.includes(button)), c = rows[r].indexOf(button), end = rows[r].length - 1;
    if (key === "Home" || key === "End") return rows[r][key === "Home" ? 0 : end];
    if (key === "ArrowLeft" || key === "ArrowRight") return rows[r][Math.max(0, Math.min(end, c + (key === "ArrowLeft" ? -1 : 1)))];
    return rows[Math.max(0, Math.min(rows.length - 1, r + (key === "ArrowUp" ? -1 : 1)))][c];
  }
  const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

  document.addEventListener("keydown", (event) => {
    if (!M.base || $("code")?.open) return;
    const t = event.target;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && ["z", "y"].includes(event.key.toLowerCase())) {
      if (t instanceof Element && t.matches("textarea,[type=number],[type=text]")) return; // the field has its own
      event.preventDefault();
      return M.travel(event.key.toLowerCase() === "y" || event.shiftKey ? 1 : -1);
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!event.repeat) M.gesture((holding = {}));
    const head = t instanceof Element && t.closest("[data-head]");
    const cell = t instanceof Element && t.closest("#grid button");
    if (cell && ARROWS.includes(event.key)) {
      event.preventDefault();
      return beside(cell, event.key).focus();
    }
    if (head && event.shiftKey && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      return M.toggle(head.dataset.head, true);
    }
    const typing = t instanceof Element && (t.matches("select,textarea,[type=number],[type=text],#with-input,#threshold-input"));
    const moves = { ArrowLeft: -1, ArrowRight: 1, ",": -1, ".": 1, PageDown: -10, PageUp: 10 };
    if (!typing && event.key in moves) {
      if (event.key.startsWith("Page") && t.id !== "slider-input") return; // elsewhere they scroll
      event.preventDefault();
      M.go(M.index() + moves[event.key]);
    } else if (!typing && t.id === "slider-input" && (event.key === "Home" || event.key === "End")) {
      event.preventDefault();
      M.go(event.key === "Home" ? 0 : M.base.steps.length - 1);
    } else if (event.key === " " && !typing && !(t instanceof Element && t.closest("button,a,summary,label,[type=checkbox],[type=radio]"))) {
      event.preventDefault();
      M.play();
    } else if (event.key === "Escape") escape(typing);
  });

  /* Escape closes what lies on top, and only that; with nothing open it puts everything back. */
  function escape(typing) {
    const menu = document.querySelector(".menu[open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    } else if (!typing && M.done()) act.clear();
  }
})();
