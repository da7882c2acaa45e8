/* What is done to the model, as lists in the view: each choice adds an entry or takes one away. */
(function () {
  "use strict";
  const M = window.mechicl;

  const toggled = (head, isolate) => {
    let chosen = M.heads();
    const [layer] = head.split(".");
    if (isolate) {
      const others = [...Array(M.base.heads).keys()].map((h) => layer + "." + h).filter((h) => h !== head);
      const already = chosen.size === others.length && others.every((h) => chosen.has(h));
      chosen = new Set(already ? [] : others);
    } else if (!chosen.delete(head)) chosen.add(head);
    return inOrder(chosen);
  };

  M.toggle = (head, isolate) => M.set({ heads: toggled(head, isolate) });
  M.perhapsToggle = (head) => M.perhaps({ heads: toggled(head, false) });

  M.toggleLayer = (layer) => {
    const chosen = M.heads();
    const its = [...Array(M.base.heads).keys()].map((h) => layer + "." + h);
    const whole = its.every((h) => chosen.has(h));
    its.forEach((h) => (whole ? chosen.delete(h) : chosen.add(h)));
    M.set({ heads: inOrder(chosen) });
  };

  const order = (h) => h.split(".").reduce((sum, x) => sum * 1000 + Number(x), 0);
  const inOrder = (chosen) => [...chosen].sort((a, b) => order(a) - order(b)).map((h) => "L" + h.replace(".", "H")).join(",");

  const toggledMlp = (layer) => {
    const chosen = new Set(M.items("mlp"));
    if (!chosen.delete(layer)) chosen.add(layer);
    return { mlp: [...chosen].sort((a, b) => a - b).join(","), ...plainKind() };
  };
  /* MLPs and positions have no kind that is for heads. */
  const pathKind = () => (M.base.kinds[M.view.kind].paths ? {} : { kind: M.base.defaults.kind });
  const plainKind = () => (M.base.kinds[M.view.kind].plain ? {} : { kind: M.base.defaults.kind });
  M.toggleMlp = (layer) => M.set(toggledMlp(layer));
  M.perhapsMlp = (layer) => M.perhaps(toggledMlp(layer));

  /* What changes with one more entry of a part's list. */
  M.added = (part, item) => ({ [part]: [...new Set([...M.items(part), item])].join(","), ...(part === "position" ? plainKind() : part === "path" ? pathKind() : {}) });
  M.drop = (part, item) => M.set({ [part]: M.items(part).filter((x) => x !== item).join(",") });
})();
