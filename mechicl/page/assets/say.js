/* What is said at the foot of the page: a panel's trouble, until it has a good answer, or a notice, until the view
   changes. */
(function () {
  "use strict";
  const M = window.mechicl;
  const TABS = ["attention", "logits", "compare"];
  const said = new Map(); // who -> text

  M.say = (text, who = "notice") => {
    said.delete(who);
    if (text) said.set(who, text);
    const open = [...said].filter(([who]) => !TABS.includes(who) || who === M.view.tab);
    const place = M.$("say"), last = open.length ? open[open.length - 1][1] : "";
    if (place && place.textContent !== last) place.textContent = last;
  };

  /* The page of a run begins. */
  M.hush = () => said.clear();
})();
