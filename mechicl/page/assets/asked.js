/* Panels whose numbers take long. The server computes in pieces, and only while the panel is in sight (or `unseen`, too);
   what is left, or got no answer, is asked for again as long as the view stays. */
(function () {
  "use strict";
  const M = window.mechicl, $ = M.$;
  const PAUSE = 150; // ms between two pieces
  const PATIENCE = 120000; // ms until a question counts as lost: one piece may take long

  /* A panel: where it asks, what of the view its answer depends on, what draws an answer or says why there
     is none, and, now and then, what else has to follow the view. */
  M.inPieces = ({ name, parts, show, follow, failed, unseen }) => {
    let asked = null, asking = false, lost = false, due = 0, seen = false, watched = null, data = null;
    const key = () => M.keyOf(parts);
    const panel = () => $(`${name}-panel`);
    const watch = new IntersectionObserver((entries) => (seen = entries[entries.length - 1].isIntersecting));

    async function look() {
      asking = true;
      const now = (asked = key()), base = M.base;
      panel().dataset.stale = String(data?.key !== now);
      const answer = await M.reply(`${name}?` + M.query(), PATIENCE);
      asking = false;
      lost = Boolean(answer.lost);
      due = performance.now() + (lost ? M.LATER : PAUSE);
      if (base !== M.base || now !== key()) return;
      data = answer.data ? { ...answer.data, key: now } : null;
      if (!panel()) return;
      panel().dataset.stale = String(!data);
      if (data) show(data);
      else failed(answer.error);
    }

    /* The page's script says nothing when its view changes: looked at now and then, as branches.js does. */
    setInterval(() => {
      if (!M.base || !panel()) return;
      if (watched !== panel()) {
        if (watched) watch.unobserve(watched);
        watch.observe((watched = panel()));
      }
      follow?.(data);
      if (!(seen || unseen) || asking || !M.settled()) return;
      if (key() !== asked || ((lost || data?.left) && performance.now() >= due)) look();
    }, 100);
    return { settled: () => !asking && data?.key === key(), data: () => data };
  };
})();
