/* How the server is asked for what can be asked for again: twice, and who is not answered is told when to try anew. */
(function () {
  "use strict";
  const M = window.mechicl;
  const PATIENCE = 20000; // ms until a question counts as lost
  const AGAIN = 400; // ms after which a question that got no answer is asked once more
  M.LATER = 5000; // ms after which it is asked for anew: often enough for a reader, seldom enough for a dead server
  M.SILENT = "The app does not answer. Is it still running?";

  /* A connection can break, as when a laptop wakes: only the second time is it trouble. lost: there was no answer. */
  M.reply = async (address, patience = PATIENCE) => {
    for (const last of [false, true]) {
      try {
        return await (await fetch(address, { signal: AbortSignal.timeout(patience) })).json();
      } catch {
        if (!last) await new Promise((done) => setTimeout(done, AGAIN));
      }
    }
    return { error: M.SILENT, lost: true };
  };
})();
