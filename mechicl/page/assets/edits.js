/* What is done to the model besides heads and MLPs: chosen in one place (editing.py), shown as chips, and put back by a
   click on its chip. Every entry is written as `mechicl ablate` takes it. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$, all = M.all, make = D.make;
  const picker = (name) => document.querySelector(`[data-pick="${name}"]`);
  const picked = (name) => picker(name)?.value ?? "";
  const words = (name) => M.base.edges[name] ?? name.replace("->", " → ").replaceAll("_", " ");
  const component = (name) => (name.startsWith("mlp.") ? `L${name.slice(4)} MLP` : name);

  /* 'match_label:1' as ['match label', '1']; without a layer, the second is ''. */
  const placed = (item) => {
    const at = item.lastIndexOf(":");
    return at < 0 ? [words(item), ""] : [words(item.slice(0, at)), item.slice(at + 1)];
  };
  const whole = (name) => name.includes("->") || M.base.relations.includes(name);
  const isEdge = (item) => whole(item.split(":")[0]);
  const inPlace = (place) => (place === "" ? " in all layers" : place.startsWith("L") ? ` in ${place}` : ` in layer ${place}`);
  const patched = () => " patched" + (M.view.counterfactual ? ` from ${M.base.partners[M.view.counterfactual]}` : "");
  const SAYS = {
    hold: (item) => `later ${M.base.held[item]} held`,
    edge: (item) => placed(item)[0] + " cut" + inPlace(placed(item)[1]),
    path: (item) => `path ${item.replace("->", " → ")} cut (${M.view.kind})`,
    position: (item) => `${placed(item)[0]} replaced before layer ${placed(item)[1]} (${M.view.kind})`,
    patch: (item) => {
      if (/^(L\d+H\d+|mlp\.\d+)$/.test(item)) return component(item) + patched();
      const [name, layer] = placed(item);
      return name + patched() + (isEdge(item) ? inPlace(layer) : ` before layer ${layer}`);
    },
    without_subspace: (item) => `directions of ${item} removed`,
  };

  /* [part, entry, text] of all that has a chip. */
  function entries() {
    const found = Object.keys(SAYS).flatMap((part) => M.items(part).map((item) => [part, item, SAYS[part](item)]));
    const [parts, step] = (M.view.graft || "").split("@");
    if (step !== undefined) parts.split(",").forEach((part) => found.push(["graft", part, `${part} of step ${Number(step).toLocaleString("en")}`]));
    if (M.view.own) found.push(["own", M.view.own, M.view.own]); // it has commas of its own
    return found;
  }

  /* Heads and MLPs that are out, by name. */
  D.out = () => [...[...M.heads()].map((h) => "L" + h.replace(".", "H")), ...M.items("mlp").map((layer) => `L${layer} MLP`)];

  D.doneText = () => {
    const out = D.out(), others = entries().map(([, , text]) => text);
    return [...(out.length ? [`without ${out.join(" ")} (${M.view.kind.replaceAll("_", " ")})`] : []),
      ...(others.length ? ["with " + others.join(", ")] : [])].join(", ");
  };

  D.drop = (chip) => {
    const chips = all("#chips button"), at = chips.indexOf(chip), { drop, item } = chip.dataset;
    if (drop === "graft") {
      const [parts, step] = M.view.graft.split("@"), left = parts.split(",").filter((part) => part !== item);
      M.set({ graft: left.length ? `${left.join(",")}@${step}` : "" });
    } else if (drop === "own") M.set({ own: "" });
    else M.drop(drop, item);
    const left = all("#chips button"); // the keyboard stays where it was
    (left[Math.min(at, left.length - 1)] || picker("what")).focus();
  };

  /* ---- what a click on the button would change ---- */

  const edge = () => {
    const from = picked("from"), place = picked("edge-place");
    return (whole(from) ? from : `${from}->${picked("to")}`) + (place === "" ? "" : ":" + place);
  };
  const place = () => `${picked("place")}:${picked("place-layer")}`;
  const patch = (item) => ({ ...M.added("patch", item), counterfactual: picked("partner") });
  const CHANGE = {
    "cut-edge": () => M.added("edge", edge()),
    "patch-edge": () => patch(edge()),
    "cut-path": () => M.added("path", `${picked("sender")}->${picked("receiver")}`),
    "replace-position": () => M.added("position", place()),
    "patch-position": () => patch(place()),
    "patch-component": () => patch(picked("component")),
    "remove-directions": () => ({ without_subspace: picked("directions") }),
    hold: () => M.added("hold", picked("hold")),
    graft: () => {
      const [parts, step] = (M.view.graft || "").split("@"), from = $("graft-step").value;
      const kept = step === from ? parts.split(",") : []; // weights come from one step
      return { graft: [...new Set([...kept, picked("parts")])].join(",") + "@" + from };
    },
  };
  const change = () => (CHANGE[picked("what")] ?? M.own)(picked("what"));
  /* Who chooses is about to click: the numbers are computed meanwhile, and at the next checkpoint again. */
  const ahead = (rest) => M.perhaps(change(), rest);
  let chosen = false;
  M.edits = { add: () => M.set(change()), chosen: () => chosen && change() };

  /* ---- once, and with every change ---- */

  const setUp = D.setUp, moreSteps = D.steps;
  D.setUp = () => {
    const step = make("select", { id: "graft-step" });
    step.setAttribute("aria-label", "Step that the weights come from");
    $("graft-place")?.replaceChildren(step);
    setUp();
    step.value = M.base.steps[M.base.steps.length - 1];
  };

  /* Steps that the choice does not have yet; what is chosen stays. */
  D.steps = () => {
    moreSteps();
    const select = $("graft-step"), there = new Set([...(select?.options ?? [])].map((option) => option.value));
    M.base.steps.forEach((s, i) => select && !there.has(String(s)) &&
      select.add(make("option", { value: s, textContent: s.toLocaleString("en") }), i));
  };

  /* Heard at the document: the page of another run has other elements. */
  document.addEventListener("change", (event) => {
    if (!M.base || !(event.target instanceof Element && event.target.closest("#edits"))) return;
    choose();
    chosen = true;
    ahead(0);
  });
  for (const near of ["pointerover", "focusin"])
    document.addEventListener(near, (event) => {
      if (M.base && event.target instanceof Element && event.target.closest('[data-do="add"]')) ahead();
    });

  /* The choices of what is chosen, and what it does. */
  function choose() {
    const what = picker("what"), { row, verb, what: object, says } = what.selectedOptions[0].dataset;
    const patches = what.value.startsWith("patch");
    all("#edits [data-row].choices").forEach((choices) => (choices.hidden = choices.dataset.row !== row));
    all("#edits [data-partners]").forEach((choices) => (choices.hidden = !patches));
    const button = document.querySelector('[data-do="add"]');
    D.put(button, verb);
    button.setAttribute("aria-label", `${verb} ${object}`);
    D.put($("edit-note"), says);
    const end = whole(picked("from")); // a whole edge has no other end
    picker("to").hidden = document.querySelector("#edits .arrow").hidden = end;
    readers();
    // An edge is patched in all heads of a layer.
    const heads = picker("edge-place").querySelector('optgroup[label="heads"]');
    heads.hidden = heads.disabled = patches;
    if (patches && picked("edge-place").startsWith("L")) picker("edge-place").value = "";
  }

  /* A component reads only what is written before it. */
  function readers() {
    const sender = picker("sender"), receiver = picker("receiver");
    if (!sender) return;
    for (const option of receiver.options) option.hidden = option.disabled = M.base.reached[option.value] <= sender.selectedIndex;
    if (receiver.selectedOptions[0].disabled) receiver.value = "out";
  }

  const controls = D.controls;
  D.controls = () => {
    controls();
    const shown = JSON.stringify(entries()); // chips that are there stay, with the focus that one may have
    if ($("chips").dataset.shown !== shown) {
      $("chips").dataset.shown = shown;
      $("chips").replaceChildren(...entries().map(([part, item, text]) => {
        const chip = make("button", { className: "chip", textContent: text, title: "Put it back", data: { drop: part, item } });
        chip.setAttribute("aria-label", `${text}: put it back`);
        return chip;
      }));
    }
    const plain = Boolean(M.view.mlp || M.view.position), paths = Boolean(M.view.path);
    all('[data-set="kind"] option').forEach((option) => {
      const kind = M.base.kinds[option.value];
      option.disabled = (plain && !kind.plain) || (paths && !kind.paths);
    });
    const what = picker("what"), hold = what.querySelector('[value="hold"]'); // it is of the layers after ablated heads
    hold.hidden = hold.disabled = !M.heads().size;
    if (hold.disabled && what.value === "hold") what.selectedIndex = 0;
    if (M.view.patch && picker("partner")) picker("partner").value = M.view.counterfactual || "";
    choose();
  };
})();
