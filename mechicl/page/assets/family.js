/* The family tree of the runs in the folder: asked for when a page is opened, and again when its branches are others, which
   branches.js tells. */
(function () {
  "use strict";
  const M = window.mechicl, $ = M.$;
  let known = "";

  async function ask(wanted) {
    known = wanted;
    const answer = await M.reply("branches/family?" + M.query());
    if (answer.lost) setTimeout(() => M.base && known === wanted && ask(wanted), M.LATER);
    if (answer.data && known === wanted) show(answer.data.rows);
  }

  function show(rows) {
    const make = M.draw.make;
    $("family").hidden = !rows.length;
    $("family-tree").replaceChildren(...rows.map((row) => {
      const name = make(row.opens ? "a" : "span", { textContent: row.name, ...(row.opens ? { href: "?run=" + encodeURIComponent(row.name) } : {}) });
      if (row.here) name.setAttribute("aria-current", "page");
      const line = make("li", { data: { member: row.name } }, name, make("small", { textContent: row.says }));
      line.style.setProperty("--depth", row.depth);
      return line;
    }));
  }

  document.addEventListener("mechicl-branches", () => {
    if (!M.base || !$("family")) return;
    const now = JSON.stringify([M.view.run, M.branches.rows().map((row) => [row.name, row.state])]);
    if (now !== known || !$("family-tree").dataset.asked) {
      $("family-tree").dataset.asked = "1"; // a run that was chosen anew has a new, empty list
      ask(now);
    }
  });
})();
