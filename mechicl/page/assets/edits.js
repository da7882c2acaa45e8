/* What is done to the model besides heads and MLPs: added by rows of choices (editing.py), shown as chips, and put back
   by a press on its chip. Every entry is written as `mechicl ablate` takes it. */
(function () {
  "use strict";
  const M = window.mechicl, D = M.draw, $ = M.$, all = M.all, make = D.make;
  const picked = (name) => document.querySelector(`[data-pick="${name}"]`);
  const arrow = (name) => name.replace("->", " → ").replaceAll("_", " ");
  const component = (name) => (name.startsWith("mlp.") ? `L${name.slice(4)} MLP` : name);

  /* 'match_label:1' as ['match label', '1']; without a layer, the second is ''. */
  const placed = (item) => {
    const at = item.lastIndexOf(":");
    return at < 0 ? [arrow(item), ""] : [arrow(item.slice(0, at)), item.slice(at + 1)];
  };
  const isEdge = (item) => item.includes("->") || M.base.relations.includes(item.split(":")[0]);
  const inLayer = (layer) => (layer === "" ? " in all layers" : ` in layer ${layer}`);
  const SAYS = {
    hold: (item) => `later ${M.base.held[item]} held`,
    edge: (item) => placed(item)[0] + " cut" + inLayer(placed(item)[1]),
    position: (item) => `${placed(item)[0]} replaced before layer ${placed(item)[1]} (${M.view.kind})`,
    patch: (item) => {
      if (/^(L\d+H\d+|mlp\.\d+)$/.test(item)) return component(item) + " patched";
      const [name, layer] = placed(item);
      return `${name} patched` + (isEdge(item) ? inLayer(layer) : ` before layer ${layer}`);
    },
    without_subspace: (item) => `directions of ${item} removed`,
  };

  /* [part, entry, text] of all that has a chip. */
  function entries() {
    const found = Object.keys(SAYS).flatMap((part) => M.items(part).map((item) => [part, item, SAYS[part](item)]));
    const [parts, step] = (M.view.graft || "").split("@");
    if (step !== undefined) parts.split(",").forEach((part) => found.push(["graft", part, `${part} of step ${Number(step).toLocaleString("en")}`]));
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
    } else M.drop(drop, item);
    const left = all("#chips button"); // the keyboard stays where it was
    (left[Math.min(at, left.length - 1)] || $("edits").querySelector("summary")).focus();
  };

  /* ---- what the rows' buttons do ---- */

  const edge = () => {
    const from = picked("from").value, layer = picked("edge-layer").value;
    return (M.base.relations.includes(from) ? from : `${from}->${picked("to").value}`) + (layer === "" ? "" : ":" + layer);
  };
  const place = () => `${picked("place").value}:${picked("place-layer").value}`;
  M.edits = {
    "cut-edge": () => M.add("edge", edge()),
    "patch-edge": () => M.add("patch", edge()),
    "replace-position": () => M.add("position", place()),
    "patch-position": () => M.add("patch", place()),
    "patch-component": () => M.add("patch", picked("component").value),
    "remove-directions": () => M.set({ without_subspace: picked("directions").value }),
    hold: () => (M.heads().size ? M.add("hold", picked("hold").value) : M.say("Ablate a head first: what is held is in the layers after it.")),
    graft: () => {
      const [parts, step] = (M.view.graft || "").split("@"), from = $("graft-step").value;
      const kept = step === from ? parts.split(",") : []; // weights come from one step
      M.set({ graft: [...new Set([...kept, picked("parts").value])].join(",") + "@" + from });
    },
  };

  /* ---- once, and with every change ---- */

  const setUp = D.setUp;
  D.setUp = () => {
    setUp();
    const steps = M.base.steps, step = make("select", { id: "graft-step" }, ...steps.map((s) =>
      make("option", { value: s, textContent: s.toLocaleString("en") })));
    step.setAttribute("aria-label", "Step that the weights come from");
    step.value = steps[steps.length - 1];
    $("graft-place").replaceChildren(step);
    $("edits").open = entries().length > 0;
    picked("from").addEventListener("change", ends);
    ends();
  };

  /* A whole edge has no other end. */
  function ends() {
    const whole = M.base.relations.includes(picked("from").value);
    picked("to").hidden = whole;
    document.querySelector("#edits .arrow").hidden = whole;
  }

  const controls = D.controls;
  D.controls = () => {
    controls();
    $("chips").replaceChildren(...entries().map(([part, item, text]) => {
      const chip = make("button", { className: "chip", textContent: text, title: "Put it back", data: { drop: part, item } });
      chip.setAttribute("aria-label", `${text}: put it back`);
      return chip;
    }));
    const plain = M.view.mlp || M.view.position;
    all('[data-set="kind"] option').forEach((option) => (option.disabled = Boolean(plain) && !M.base.kinds[option.value].plain));
  };
})();
