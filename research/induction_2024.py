"""Singh et al. 2024 (2404.07129): every printed number beside ours. `python -m research.induction_2024 RUNS PUBLISHED`.

RUNS holds the sweeps' folders (induction-2024, induction-2024-clamps, ...), PUBLISHED is the folder with printed.csv,
ih_fig3a.csv and ih_fig3b.csv. Written are research/tables/induction-2024-*.csv; `research.induction_2024_page` makes
docs/findings/induction-2024.md of them. The rules by which each part is judged stand in the sweeps' files, and are
applied in `research.induction_2024_rules`.

Everything at the end of a run is measured on its whole training set, as published: every ordered pair of the 50
classes, both orders of the two pairs in the context, the 8 trained pairs of labels in both orders: 78,400 sequences.
Wiring, 256 conditions a run, is measured on a balanced 4,900 of them: every pair of classes and order once, with a
label pair at random.

Heads of different runs are not the same heads. Layer-1 heads are matched by their rank in accuracy alone, layer-0 heads
by the rank of what each does alone with values held, in the paper's runs as in ours.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from mechicl.engine.forward import forward
from mechicl.engine.ops import EPS
from mechicl.evaluators import score
from mechicl.interventions import AblateHeads, ClampMatch, Intervention, apply, intact, under
from mechicl.models.params import Params, pack
from mechicl.series import Series, open_series
from mechicl.system.work_queue import threads
from mechicl.tasks.exemplar_label import label_pairs
from mechicl.tasks.exemplar_label.batch import Batch
from research.tables import TABLES

HEADS = range(8)
_CHUNK = 490
LAYER_0 = tuple((0, h) for h in HEADS)
KINDS = {"remove": "remove", "allbut": "remove_allbut"}  # as printed.csv calls them
_INTO_OUTPUT = ("blocks.1.hook_resid_pre", "blocks.1.attn.hook_z")


def training_set(series: Series, step: int, all_labels: bool = True) -> tuple[Params, Batch]:
    """The weights of a step, and all the sequences that it may be trained on: 78,400, or a balanced 4,900.

    Exemplars come as embeddings already, and the weights embed them as they are: the same function, in less memory.
    """
    params, bank, config = pack(series.weights(step)), series.bank.train(), series.config
    x = torch.from_numpy(np.asarray(bank.exemplars[:, 0], np.float32)) @ params["exemplar_embed.W"]
    x = x + params["exemplar_embed.b"]
    identity = {"exemplar_embed.W": torch.eye(x.shape[1]), "exemplar_embed.b": torch.zeros(x.shape[1])}
    held = set(label_pairs.held_out(config.sequences, config.bank.labels).tolist())
    numbers = np.array([n for n in range(label_pairs.count(config.bank.labels)) if n not in held])
    pairs = label_pairs.labels_of(numbers)
    pairs = np.concatenate([pairs, pairs[:, ::-1]])  # [16, 2]: the query's class's label, the other's
    classes = np.array(list(itertools.permutations(range(bank.n_classes), 2)))  # [2450, 2]: the query's, the other
    c, order, p = (i.ravel() for i in np.meshgrid(range(len(classes)), (0, 1), range(len(pairs)), indexing="ij"))
    if not all_labels:
        c, order = (i.ravel() for i in np.meshgrid(range(len(classes)), (0, 1), indexing="ij"))
        p = np.random.default_rng(0).integers(len(pairs), size=len(c))
    shown, labels = classes[c], pairs[p]
    swap = order.astype(bool)[:, None]
    context = np.where(swap, shown[:, ::-1], shown)
    slots = torch.from_numpy(np.concatenate([context, shown[:, :1]], 1))
    answers = torch.from_numpy(np.where(swap, labels[:, ::-1], labels))
    target = torch.from_numpy(labels[:, 0].copy())
    return params | identity, Batch(x[slots], answers, target, slots, torch.zeros_like(slots), slots)


def answered(
    series: Series, params: Params, batch: Batch, conditions: dict[str, Intervention | None], metric: str = "acc"
) -> dict[str, np.ndarray]:
    """Of every condition and sequence, one metric: [n]."""
    model, parts = series.config.model, {name: [] for name in conditions}
    for at in range(0, len(batch), _CHUNK):
        some = batch[at : at + _CHUNK]
        with torch.no_grad():
            on = intact(params, some, model, filter(None, conditions.values()))
            for name, condition in conditions.items():
                final = on.final if condition is None else under([condition], on).final
                parts[name].append(score(params, final, some, (metric,))[metric].reshape(-1).numpy())
    return {name: np.concatenate(each) for name, each in parts.items()}


def patterns(series: Series, params: Params, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Induction strength of each layer-1 head, previous-token score at labels of each layer-0 head: [8], [8]."""
    hooks, found = ["blocks.0.attn.hook_pattern", "blocks.1.attn.hook_pattern"], []
    for at in range(0, len(batch), _CHUNK):
        some = batch[at : at + _CHUNK]
        with torch.no_grad():
            acts = forward(params, some, series.config.model, capture=hooks).acts
        right = (some.classes[:, :-1] == some.classes[:, -1:])[:, None]
        to_labels = acts[hooks[1]][..., -1, 1::2]  # [b, h, C]
        strength = (to_labels * right).sum(-1) - (to_labels * ~right).sum(-1)
        first = acts[hooks[0]]
        previous = (first[..., 1, 0] + first[..., 3, 2]) / 2
        found.append((strength.sum(0).numpy(), previous.sum(0).numpy()))
    return tuple(sum(each) / len(batch) for each in zip(*found, strict=True))  # type: ignore[return-value]


def kept_alone(
    series: Series,
    params: Params,
    batch: Batch,
    sets: list[tuple[int, ...]],
    condition: Intervention | None = None,
    metric: str = "acc",
) -> list[np.ndarray]:
    """One metric of every sequence [n] with these layer-1 heads alone, for each of `sets`, under a condition of what
    comes before their output. Nothing after it depends on other heads, so one pass serves all sets."""
    model, w = series.config.model, params["blocks.1.attn.W_O"].view(len(HEADS), -1, series.config.model.d_model)
    out = [[] for _ in sets]
    for at in range(0, len(batch), _CHUNK):
        some = batch[at : at + _CHUNK]
        with torch.no_grad():
            if condition is None:
                acts = intact(params, some, model, capture=_INTO_OUTPUT).acts
            else:
                acts = apply(params, some, model, [condition], capture=_INTO_OUTPUT).acts
            before, z = (_plain(acts[hook], some) for hook in _INTO_OUTPUT)  # [b, t, d], [b, 1, h, k]
            parts = torch.einsum("bhk,hkd->bhd", z[:, -1], w)
            for values, heads in zip(out, sets, strict=True):
                final = before[:, -1] + parts[:, list(heads)].sum(1)
                final = F.layer_norm(final, final.shape[-1:], params["ln_final.w"], params["ln_final.b"], EPS)
                values.append(score(params, final, some, (metric,))[metric].numpy())
    return [np.concatenate(values) for values in out]


def _plain(x: torch.Tensor, batch: Batch) -> torch.Tensor:
    """An activation without the axis of its one condition."""
    while x.shape[0] != len(batch) or x.shape[0] == x.shape[1] == 1:
        x = x[0]
    return x


def held(removed: tuple[int, ...], hold: str) -> AblateHeads:
    """Heads of layer 0 removed, with patterns (pp) or values (pv) held."""
    return AblateHeads(heads=tuple((0, h) for h in removed), hold=({"pp": "pattern", "pv": "v"}[hold],))


def measured(series: Series) -> Iterator[tuple[str, str, float, int]]:
    """(table, condition, value, n) of one finished run, with its own heads' numbers."""
    params, batch = training_set(series, series.config.steps)
    n = len(batch)
    strength, previous = patterns(series, params, batch)
    for h in HEADS:
        yield "strength", f"l1h{h}", float(strength[h]), n
        yield "previous", f"l0h{h}", float(previous[h]), n
    singles = [(h,) for h in HEADS]
    intact, *alone = kept_alone(series, params, batch, [tuple(HEADS), *singles])
    removed = answered(series, params, batch, {"": AblateHeads(heads=LAYER_0, hold=("q", "k", "v"))})[""]
    yield "intact", "intact", float(intact.mean()), n
    yield "intact", "no layer-0 output", float(removed.mean()), n
    for h in HEADS:
        yield "alone", f"l1h{h}", float(alone[h].mean()), n
    yield from _fixed("fixed", alone)
    given = kept_alone(series, params, batch, singles, ClampMatch(heads=tuple((1, h) for h in HEADS)))
    for h in HEADS:
        yield "matched", f"l1h{h}", float(given[h].mean()), n
    yield from _fixed("matched-fixed", given)
    ranked = np.argsort(-previous)
    sets = {"pt": tuple(ranked[:3]), "rest": tuple(ranked[3:])}
    yield from _table_1(series, params, batch, sets)
    best = np.argsort([-a.mean() for a in alone])
    added = [tuple(int(h) for h in best[: k + 1]) for k in HEADS]
    for k, loss in enumerate(kept_alone(series, params, batch, added, metric="loss")):
        yield "added", str(k + 1), float(loss.mean()), n
    params, batch = training_set(series, series.config.steps, all_labels=False)
    for kind, j, hold in itertools.product(("remove", "allbut"), HEADS, ("pp", "pv")):
        gone = (j,) if kind == "remove" else tuple(i for i in HEADS if i != j)
        for h, right in zip(HEADS, kept_alone(series, params, batch, singles, held(gone, hold)), strict=True):
            yield "wiring", f"only_l1h{h}_{KINDS[kind]}_l0h{j}_{hold}", float(right.mean()), len(batch)


def _fixed(table: str, right: list[np.ndarray]) -> Iterator[tuple[str, str, float, int]]:
    """Of each head's mistakes, the share that each other head gets right."""
    for one, other in itertools.product(HEADS, HEADS):
        wrong = ~right[one]
        share = float(right[other][wrong].mean()) if wrong.any() else np.nan
        yield table, f"l1h{one}|l1h{other}", share, int(wrong.sum())


def _table_1(series: Series, params: Params, batch: Batch, sets: dict[str, tuple[int, ...]]):
    asked = {
        f"{name} {hold}": AblateHeads(heads=tuple((0, int(h)) for h in heads), hold=(part,))
        for name, heads in sets.items()
        for hold, part in (("pp", "pattern"), ("pv", "v"))
    }
    for name, right in answered(series, params, batch, dict(asked)).items():
        yield "table-1", name, float(right.mean()), len(batch)
    yield "table-1", "pt heads", float(sum(10**i * int(h) for i, h in enumerate(sorted(sets["pt"])))), 0


def collect(root: Path) -> pd.DataFrame:
    """tables/induction-2024-runs.csv: all of `measured` of every finished run; runs that the table has are kept."""
    path, rows = TABLES / "induction-2024-runs.csv", []
    before = pd.read_csv(path, dtype={"condition": str}) if path.exists() else None
    for run in sorted(root.glob("induction-2024/main-s*")):
        series = open_series(run)
        seed = series.config.seeds.init
        if not series.complete:
            continue
        if before is not None and (before.seed == seed).any():
            rows += before[before.seed == seed].to_dict("records")
            continue
        with threads(1):
            rows += [
                {"seed": seed, "table": t, "condition": c, "value": round(v, 6), "n": n}
                for t, c, v, n in measured(series)
            ]
        print(f"{run.name}: measured", flush=True)
        pd.DataFrame(rows).to_csv(path, index=False)
    return pd.DataFrame(rows)


def training(root: Path) -> pd.DataFrame:
    """tables/induction-2024-training.parquet: loss and accuracy of every run at every recorded moment. Runs of the
    table that are not in the folder stay in it."""
    training = []
    begun = sorted(path.parent for path in root.glob("induction-2024*/*/manifest.json"))
    for run in begun:
        series = open_series(run)
        table = series.metrics
        wide = table.pivot_table(index="sequences", columns=["evaluator", "metric"], values="value")
        condition = re.sub(r"-s\d+$", "", run.name)
        for (evaluator, metric), values in wide.items():
            if metric in ("loss", "acc"):
                run_of = {"condition": condition, "seed": series.config.seeds.init}
                same = run_of | {"evaluator": evaluator, "metric": metric}
                training += [same | {"sequences": s, "value": round(v, 4)} for s, v in values.items()]
    path, key = TABLES / "induction-2024-training.parquet", ["condition", "seed"]
    every, kept = pd.DataFrame(training), pd.read_parquet(path) if path.exists() else pd.DataFrame()
    if len(kept) and len(every):
        found = pd.MultiIndex.from_frame(every[key])
        kept = kept[~pd.MultiIndex.from_frame(kept[key]).isin(found)]
    every = pd.concat([kept, every]).sort_values([*key, "evaluator", "metric", "sequences"])
    every.to_parquet(path, index=False)
    return every


def curves(root: Path, published: Path) -> None:
    """tables/induction-2024-curves.csv: the digitised Figure 3, our values at its points, linear between our own."""
    rows, every = [], training(root)
    names = {"train": "train", "test_relabel": "holdout_pairs", "test_exemplars": "holdout_classes"}
    main = every[(every.condition == "main") & (every.metric == "loss")]
    seeds = [s for s in sorted(main.seed.unique()) if main[main.seed == s].sequences.max() >= 999_000]
    for curve, points in pd.read_csv(published / "ih_fig3a.csv").groupby("curve"):
        mine = main[main.evaluator == names[str(curve)]]
        for x, y in zip(points.sequences, points.value, strict=True):
            ours = [float(np.interp(x, *mine[mine.seed == s][["sequences", "value"]].to_numpy().T)) for s in seeds]
            rows.append(
                {"figure": "3a", "curve": curve, "sequences": x, "published": y}
                | {f"s{s}": round(v, 4) for s, v in zip(seeds, ours, strict=True)}
            )
    rows += _strengths(root, published, seeds)
    pd.DataFrame(rows).to_csv(TABLES / "induction-2024-curves.csv", index=False)


def _strengths(root: Path, published: Path, seeds: list[int]) -> list[dict]:
    """Figure 3b: induction strength over training, heads by rank at the end, at every tenth of the digitised points."""
    figure = pd.read_csv(published / "ih_fig3b.csv")
    last = figure.groupby("curve").value.last().sort_values(ascending=False)
    ours = {seed: strengths_over_training(open_series(root / "induction-2024" / f"main-s{seed}")) for seed in seeds}
    rows = []
    for rank, curve in enumerate(last.index):
        points = figure[figure.curve == curve].iloc[::10]
        for x, y in zip(points.sequences, points.value, strict=True):
            row = {"figure": "3b", "curve": f"{curve} (rank {rank + 1})", "sequences": x, "published": y}
            for seed, (at, values) in ours.items():
                order = np.argsort(-values[-1])
                row[f"s{seed}"] = round(float(np.interp(x, at, values[:, order[rank]])), 4)
            rows.append(row)
    return rows


def strengths_over_training(series: Series, every: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(sequences [s], induction strength [s, 8]) at every fourth checkpoint and the last, on a balanced 4,900."""
    steps = sorted({*series.steps[::every], series.steps[-1]})
    found = []
    with threads(1):
        for step in steps:
            found.append(patterns(series, *training_set(series, step, all_labels=False))[0])
    return np.array([series.sequences_seen(step) for step in steps]), np.array(found)


def main(argv: list[str]) -> None:
    root, published = map(Path, argv)
    if not (root / "induction-2024").is_dir():  # only runs of the other sweeps: they have curves of training alone
        training(root)
        return
    collect(root)
    curves(root, published)
    from research.induction_2024_compare import compare

    compare(published)


if __name__ == "__main__":
    main(sys.argv[1:])
