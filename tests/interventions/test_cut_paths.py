"""Paths cut: against hooks written by hand, weight surgery, and the circuits that are known."""

import pytest
import torch
from known_models import INDUCTION_HEAD, PREVIOUS_TOKEN_HEAD
from random_models import MODELS, batch_of, by_engine, hooked, make, weights_of

from mechicl.errors import ConfigError
from mechicl.interventions import (
    AblateHeads,
    AblateMLPs,
    CutPaths,
    PatchActivations,
    RemoveDirectPath,
    Together,
    every_path,
)
from mechicl.interventions.components import parse
from mechicl.models.params import pack
from mechicl.models.switches import running

CIRCUIT = ("embed->L0H1.v", "embed->L1H2.q", "L0H1->L1H2.k", "embed->L1H2.v", "L1H2->out")


def setting(shape: str, **changed):
    config = make(shape)
    return config, weights_of(config, torch.float64) | changed, batch_of(config, torch.float64, 6)


def logits_of(shape: str, condition) -> torch.Tensor:
    config, weights, batch = setting(shape)
    return by_engine(pack(weights), batch, config, [condition])[0]


def close(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["zero", "mean", "counterfactual"])
@pytest.mark.parametrize("shape", MODELS)
def test_one_path_is_path_patching_by_hooks(shape, kind):
    """As a loop over TransformerLens' hooks does it: what the sender wrote is cached, and one input changed."""
    config, weights, batch = setting(shape)
    model, last = hooked(config, weights), config.model.n_layers - 1
    wrote, read = "blocks.0.attn.hook_result", "blocks.1.hook_k_input"
    paths = [("L0H1->L1H2.k", wrote, 1, read, 2), ("L0H3->out", wrote, 3, f"blocks.{last}.hook_resid_post", None)]
    if config.model.has_mlp(2):
        paths.append(("mlp.0->mlp.2", "blocks.0.hook_mlp_out", None, "blocks.2.hook_mlp_in", None))
    with running(model, [wrote, read, "blocks.2.hook_mlp_in"]):
        _, cache = model.run_with_cache(batch)
        _, partner = model.run_with_cache(batch.counterfactual())
        for path, wrote, sender, read, reader in paths:
            own = cache[wrote] if sender is None else cache[wrote][:, :, sender]
            other = partner[wrote] if sender is None else partner[wrote][:, :, sender]
            other = {"zero": torch.zeros(()), "mean": own.mean(0, keepdim=True), "counterfactual": other}[kind]

            def without(x, hook, lost=own - other, reader=reader):
                if reader is None:
                    return x - lost
                x = x.clone()
                x[:, :, reader] -= lost
                return x

            want = model.run_with_hooks(batch, fwd_hooks=[(read, without)])[:, -1]
            got = by_engine(pack(weights), batch, config, [CutPaths(paths=(path,), kind=kind)])[0]
            torch.testing.assert_close(got, want, rtol=0, atol=1e-9)
            assert (got - model(batch)[:, -1]).abs().max() > 1e-4


def test_without_layer_norm_it_is_weight_surgery():
    """What a head writes lies in the rows of its W_O. Its row space taken out of what the reader's W_K reads is the
    path cut, if nothing else lies there: the stream is what the head writes plus what is orthogonal to it."""
    config, weights, batch = setting("rotary-no-norm")
    basis = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64))[0]
    inside, outside = basis[:, :4], basis[:, 4:]
    project = outside @ outside.T
    for name in ("exemplar_embed.W", "exemplar_embed.b", "embed.W_E"):
        weights[name] = weights[name] @ project
    w_o = weights["blocks.0.attn.W_O"] @ project
    w_o[1] = torch.randn(4, 4, dtype=torch.float64) @ inside.T
    weights["blocks.0.attn.W_O"] = w_o
    for part, matrix in (("q", "W_Q"), ("k", "W_K"), ("v", "W_V")):
        edited = {name: w.clone() for name, w in weights.items()}
        edited[f"blocks.1.attn.{matrix}"][2] = project @ edited[f"blocks.1.attn.{matrix}"][2]
        want = hooked(config, edited)(batch)[:, -1]
        got = by_engine(pack(weights), batch, config, [CutPaths(paths=(f"L0H1->L1H2.{part}",))])[0]
        close(got, want)
        assert (want - hooked(config, weights)(batch)[:, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("shape", MODELS)
def test_all_that_a_component_sends_cut_is_the_component_ablated(shape):
    paths = every_path(make(shape).model)
    from_head = CutPaths(paths=tuple(path for path in paths if path.startswith("L0H1->")))
    close(logits_of(shape, from_head), logits_of(shape, AblateHeads(heads=((0, 1),))))
    mean = CutPaths(paths=from_head.paths, kind="mean")
    close(logits_of(shape, mean), logits_of(shape, AblateHeads(heads=((0, 1),), kind="mean")))
    other = CutPaths(paths=from_head.paths, kind="counterfactual", counterfactual="next")
    close(logits_of(shape, other), logits_of(shape, PatchActivations(heads=((0, 1),), counterfactual="next")))
    close(logits_of(shape, CutPaths(paths=("embed->out",))), logits_of(shape, RemoveDirectPath()))
    if shape == "three-layers-mlp":
        from_mlp = CutPaths(paths=tuple(path for path in paths if path.startswith("mlp.0->")))
        close(logits_of(shape, from_mlp), logits_of(shape, AblateMLPs(layers=(0,))))


@pytest.mark.parametrize("shape", MODELS)
def test_nothing_comes_through_a_path_that_is_cut(shape):
    """Senders that change, because paths to them are cut too, are not read either; with all paths cut, nothing is."""
    every = tuple(every_path(make(shape).model))
    nothing = logits_of(shape, CutPaths(paths=every))
    close(nothing, nothing[:1].expand_as(nothing))
    head = CutPaths(paths=("embed->L0H1.v", "embed->L0H1.q", *(p for p in every if p.startswith("L0H1->"))))
    close(logits_of(shape, head), logits_of(shape, AblateHeads(heads=((0, 1),))))
    both = Together(parts=(AblateHeads(heads=((0, 1),)), CutPaths(paths=("L0H1->L1H2.k",))))
    close(logits_of(shape, both), logits_of(shape, AblateHeads(heads=((0, 1),))))


def test_everything_from_the_partner_is_the_partner():
    config, weights, batch = setting("three-layers-mlp")
    got = logits_of("three-layers-mlp", CutPaths(paths=tuple(every_path(config.model)), kind="counterfactual"))
    close(got, hooked(config, weights)(batch.counterfactual())[:, -1])


def test_parts_together_are_as_one():
    one, other = CutPaths(paths=("L0H1->L1H2.k", "embed->out")), CutPaths(paths=("L0H3->L1H2.k", "embed->out"))
    both = CutPaths(paths=("L0H1->L1H2.k", "L0H3->L1H2.k", "embed->out"))
    close(logits_of("plain", Together(parts=(one, other))), logits_of("plain", both))
    mean = CutPaths(paths=("embed->out",), kind="mean")
    with pytest.raises(ConfigError, match="same path"):
        logits_of("plain", Together(parts=(one, mean)))
    beside = Together(parts=(CutPaths(paths=("L0H1->out",)), mean))
    assert (logits_of("plain", beside) - logits_of("plain", mean)).abs().max() > 1e-3


def test_hooks_leave_the_model_as_it_was():
    config, weights, batch = setting("three-layers-mlp")
    model = hooked(config, weights)
    asked = CutPaths(paths=("L0H1->L1H2.k", "mlp.0->mlp.2", "embed->L2H0.q"), kind="mean")
    hooks = model.hooks_for(asked, batch) + model.hooks_for(CutPaths(paths=("L0H0->L1H2.q",)), batch)
    before, names = model(batch), {name for name, _ in hooks}
    assert (model.run_with_hooks(batch, fwd_hooks=hooks) - before).abs().max() > 1e-3
    assert torch.equal(model(batch), before)
    cfgs = [model.cfg, *(block.cfg for block in model.blocks)]
    assert not any(cfg.use_split_qkv_input or cfg.use_hook_mlp_in or cfg.use_attn_result for cfg in cfgs)
    assert "blocks.1.hook_k_input" in names


def test_the_known_circuit_needs_its_paths_and_no_other(known_series):
    layer, head = INDUCTION_HEAD
    assert f"L0H{PREVIOUS_TOKEN_HEAD[1]}->L{layer}H{head}.k" in CIRCUIT
    paths = every_path(known_series.config.model)
    rest = CutPaths(paths=tuple(path for path in paths if path not in CIRCUIT))
    cuts = [CutPaths(paths=CIRCUIT), CutPaths(paths=(CIRCUIT[2],))]
    # Two looks at positions stand in for each other (measures/test_circuits.py): they are left to the circuit.
    kept = CutPaths(paths=tuple(p for p in rest.paths if p not in ("embed->L0H1.q", "embed->L0H1.k", "embed->L1H2.k")))
    icl = known_series.evaluate([5], ["icl"], [kept, *cuts], metrics=None).set_index("intervention").value
    assert icl[str(kept)] == icl["intact"] == 1.0
    assert icl[str(cuts[0])] == pytest.approx(0.5, abs=0.07)
    assert icl[str(cuts[1])] == pytest.approx(0.5, abs=0.07)


def test_controls_are_other_paths_of_the_same_kind_and_layers():
    model = make("three-layers-mlp").model
    cut = CutPaths(paths=("L0H1->L1H2.k", "L0H0->L1H2.k", "embed->L2H0.v", "mlp.0->out"), kind="mean")
    found = cut.controls(model, 6)
    assert len({str(x) for x in found}) == 6
    for other in found:
        assert other.kind == "mean"
        assert not set(other.paths) & set(cut.paths)
        assert [parse(p).like for p in other.paths] == [parse(p).like for p in cut.paths if not p.startswith("mlp")]
    assert CutPaths(paths=("embed->out",)).controls(model, 4) == []


def test_whose_pattern_stays():
    cut = CutPaths(paths=("L0H1->L1H2.k", "L0H1->L1H3.v", "embed->out"))
    assert cut.same_pattern(1, 3)
    assert cut.same_pattern(0, 2)
    assert not cut.same_pattern(1, 2)
    assert not cut.same_pattern(2, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"paths": ("L0H1",)}, "expected SENDER->RECEIVER"),
        ({"paths": ("L0H1->L1H9.k",)}, r"no L1H9\.k"),
        ({"paths": ("embed->out",), "kind": "resample"}, "'counterfactual'"),
        ({"paths": ("embed->out",), "counterfactual": "next"}, "only kind"),
        ({"paths": ("embed->out",), "kind": "counterfactual", "counterfactual": "label"}, "'labels', 'next'"),
    ],
)
def test_what_cannot_be_is_refused(tiny_series, given, said):
    with pytest.raises(ConfigError, match=said):
        tiny_series.evaluate([60], ["icl"], CutPaths(**given), n=10)


def test_the_command_line_cuts_paths(known_series, capsys):
    from mechicl import cli

    cli.main(["ablate", str(known_series.root), "--path", "L0H1->L1H2.k", "--step", "5", "--n", "100"])
    out = capsys.readouterr().out
    assert "cut L0H1->L1H2.k" in out
    assert "as many other paths between the same kinds of components" in out
    (line,) = [line.split() for line in out.splitlines() if line.startswith("icl ")]
    assert float(line[3]) < -0.3
    assert line[-3:] == ["+0.000", "..", "+0.000"]
