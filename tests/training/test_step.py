"""The training step against plain autograd and against Adam written out by hand; states; rates."""

import dataclasses

import numpy as np
import pytest
import safetensors.torch
import torch

from mechicl.config import BankConfig, Config, ModelConfig, OptimConfig, SequenceConfig
from mechicl.models.hooked import ICLTransformer
from mechicl.models.params import Params, group, init, pack
from mechicl.system import work_queue as share
from mechicl.tasks.exemplar_label.banks.build import build_bank
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.training.loop import training_batches
from mechicl.training.step import Trainer, loss

STEPS = 40


def make(n_labels: int | None = None, model: dict | None = None, **optim) -> Config:
    shape = {"d_model": 16, "n_heads": 2, "mlp_ratio": 2, "mlp_layers": (1,)} | (model or {})
    dim = 36 if "encoder" in shape else 6  # 6 x 6 pixels
    return Config(
        name="x",
        steps=STEPS,
        batch_size=16,
        bank=BankConfig(n_classes=30, n_exemplars=4, n_holdout_classes=2, dim=dim, n_labels=n_labels),
        sequences=SequenceConfig(n_pairs=4, burstiness=1),
        model=ModelConfig(**shape),
        optim=OptimConfig(**({"lr": 3e-3} | optim)),
    )


@pytest.fixture
def double():
    """Tensors are float64 unless told otherwise, so that comparisons can be sharp."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def start(config: Config) -> Params:
    """Initial packed weights, in the default dtype."""
    return {name: w.to(torch.get_default_dtype()) for name, w in pack(init(config)).items()}


def batches(config: Config, stop: int = STEPS) -> list[Batch]:
    return list(training_batches(config, build_bank(config), 0, stop))


def autograd_run(config: Config, stop: int = STEPS) -> tuple[list[float], Params]:
    """The same training with torch's own Adam on `loss`, nothing fused and nothing by hand."""
    params = {k: v.clone().requires_grad_() for k, v in start(config).items()}
    o = config.optim
    chosen = [p for n, p in params.items() if o.l2_group in ("all", group(n))]
    rest = [p for n, p in params.items() if o.l2_group not in ("all", group(n))]
    groups = [{"params": g, "weight_decay": d} for g, d in ((chosen, o.l2), (rest, 0.0)) if g]
    kind = torch.optim.Adam if o.l2_form == "penalty" else torch.optim.AdamW
    adam = kind(groups, lr=o.lr, betas=o.betas, eps=o.adam_eps, foreach=False, fused=False)
    losses = []
    for step, batch in enumerate(batches(config, stop)):
        for g in adam.param_groups:
            g["lr"] = o.lr_at(step)
        adam.zero_grad()
        value = loss(params, batch, config)
        value.backward()
        adam.step()
        losses.append(value.item())
    return losses, params


def by_hand_run(config: Config, stop: int = STEPS) -> tuple[list[float], Params]:
    """Adam as in its paper, with the L2 of `OptimConfig`'s docstring."""
    o, (b1, b2) = config.optim, config.optim.betas
    params = start(config)
    m = {k: torch.zeros_like(v) for k, v in params.items()}
    v = {k: torch.zeros_like(p) for k, p in params.items()}
    losses = []
    for step, batch in enumerate(batches(config, stop)):
        done = step + 1
        lr = o.lr
        if done < o.warmup_steps:
            lr = o.lr * done / o.warmup_steps
        elif o.lr_schedule == "inverse_sqrt":
            lr = o.lr * (o.warmup_steps / done) ** 0.5
        leaves = {k: p.clone().requires_grad_() for k, p in params.items()}
        value = loss(leaves, batch, config)
        grads = torch.autograd.grad(value, list(leaves.values()))
        losses.append(value.item())
        for (name, p), g in zip(params.items(), grads, strict=True):
            held = o.l2_group in ("all", group(name))
            if held and o.l2_form == "penalty":
                g = g + o.l2 * p
            if held and o.l2_form == "decoupled":
                p = p - lr * o.l2 * p
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            mhat, vhat = m[name] / (1 - b1**done), v[name] / (1 - b2**done)
            params[name] = p - lr * mhat / (vhat.sqrt() + o.adam_eps)
    return losses, params


def trainer_run(config: Config, stop: int = STEPS) -> tuple[list[float], Params]:
    trainer = Trainer(config, start(config))
    losses = [trainer.update(batch).item() for batch in batches(config, stop)]
    assert trainer.step == stop
    return losses, trainer.params


def same(got: tuple[list[float], Params], want: tuple[list[float], Params], tolerance: float):
    np.testing.assert_allclose(got[0], want[0], rtol=tolerance)
    assert got[1].keys() == want[1].keys()
    for name, p in want[1].items():
        torch.testing.assert_close(
            got[1][name].detach(),
            p.detach(),
            rtol=tolerance,
            atol=tolerance,
            msg=lambda m, name=name: f"{name}: {m}",
        )


KINDS = {
    "attention-only": {"mlp_ratio": 0, "mlp_layers": None},
    "mlp": {},
    "rotary": {"positions": "rotary"},
    "sinusoidal": {"positions": "sinusoidal"},
    "no-layer-norm": {"layer_norm": False},
    "three-layers": {"n_layers": 3},
    "conv": {"encoder": "conv", "channels": (3, 4)},
}


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("n_labels", [None, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_update_equals_autograd_and_torchs_adam(kind, n_labels):
    config = make(n_labels, KINDS[kind])
    want = autograd_run(config)
    same(trainer_run(config), want, 1e-9)
    assert want[0][-1] < want[0][0]  # and it learns something


def test_update_equals_autograd_in_float32():
    config = make()
    same(trainer_run(config), autograd_run(config), 2e-3)
    same(trainer_run(config, 5), autograd_run(config, 5), 5e-5)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("chosen", ["all", "attention", "mlp", "embeddings"])
@pytest.mark.parametrize("form", ["penalty", "decoupled"])
def test_l2_is_as_written_in_the_config(form, chosen):
    config = make(l2=0.3, l2_form=form, l2_group=chosen)
    want = by_hand_run(config)
    same(trainer_run(config), want, 1e-9)
    same(autograd_run(config), want, 1e-9)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("chosen", ["all", "attention", "mlp", "embeddings"])
@pytest.mark.parametrize("form", ["penalty", "decoupled"])
def test_l2_shrinks_its_group_and_nothing_else(form, chosen):
    config = make(l2=1.0, l2_form=form, l2_group=chosen)
    plain = trainer_run(make(), stop=1)[1]
    held = trainer_run(config, stop=1)[1]
    for name, before in start(config).items():
        if chosen not in ("all", group(name)):
            assert torch.equal(held[name], plain[name]), name
        elif form == "decoupled":
            torch.testing.assert_close(plain[name] - held[name], 3e-3 * before, rtol=1e-6, atol=1e-12)
        elif before.abs().sum() > 0:
            assert (held[name] - plain[name]).abs().max() > 0, name
    if form == "penalty":
        return
    held, plain = trainer_run(config)[1], trainer_run(make())[1]
    for name in ("embed.W_E", "unembed.W_U", "blocks.0.attn.W_QKV", "blocks.1.mlp.W_in"):
        ratio = (held[name].norm() / plain[name].norm()).item()
        shrinks = chosen in ("all", group(name))
        assert ratio < 0.93 if shrinks else ratio == pytest.approx(1, abs=0.06), name


def test_the_reported_loss_has_no_penalty_in_it():
    plain, held = (trainer_run(make(l2=l2), stop=1)[0] for l2 in (0.0, 10.0))
    assert plain == held
    config = make()
    want = loss(start(config), batches(config, 1)[0], config).item()
    assert plain[0] == pytest.approx(want, rel=1e-6)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    "optim",
    [
        {"warmup_steps": 10},
        {"warmup_steps": 10, "lr_schedule": "inverse_sqrt"},
        {"warmup_steps": 1, "lr_schedule": "inverse_sqrt"},
        {"betas": (0.5, 0.9), "adam_eps": 1e-3, "warmup_steps": 100},
    ],
)
def test_schedules_and_adams_constants(optim):
    config = make(**optim)
    want = by_hand_run(config)
    same(trainer_run(config), want, 1e-9)
    if "betas" not in optim:
        assert max(abs(a - b) for a, b in zip(want[0], by_hand_run(make())[0], strict=True)) > 1e-4


def test_first_update_moves_every_parameter_by_the_rate():
    config = make()  # Adam's first step is lr * sign(gradient)
    trainer = Trainer(config, start(config))
    batch = batches(config, 1)[0]
    trainer.update(batch)
    unseen = sorted(set(range(30)) - set(batch.labels.flatten().tolist()))
    for name, before in start(config).items():
        moved = (trainer.params[name] - before).abs().detach()
        if name == "embed.W_E":
            assert (moved[unseen] == 0).all()
            assert len(unseen) > 0
        assert moved.max() == pytest.approx(3e-3, rel=0.02), name


@pytest.mark.parametrize("done", [0, 1, 17])
def test_a_state_goes_on_exactly_as_the_run_would_have(done):
    config = make(l2=0.01, l2_group="attention", warmup_steps=20, lr_schedule="inverse_sqrt")
    listed = batches(config)
    trainer = Trainer(config, start(config))
    for batch in listed[:done]:
        trainer.update(batch)
    state = trainer.state()
    through_disk = safetensors.torch.load(safetensors.torch.save(state))
    again = Trainer.from_state(config, through_disk)
    assert again.step == done
    for batch in listed[done:]:
        assert torch.equal(trainer.update(batch), again.update(batch))
    one, two = trainer.state(), again.state()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], state[name]) for name in one)  # states are copies


def test_a_state_round_trips_exactly():
    config = make()
    trainer = Trainer(config, start(config))
    for batch in batches(config, 7):
        trainer.update(batch)
    state = trainer.state()
    again = Trainer.from_state(config, state).state()
    assert state.keys() == again.keys()
    assert all(torch.equal(state[k], again[k]) and state[k].dtype == again[k].dtype for k in state)
    names = pack(init(config)).keys()
    expected = {f"{kind}/{n}" for n in names for kind in ("weights", "exp_avg", "exp_avg_sq")} | {"step"}
    assert state.keys() == expected
    assert state["exp_avg_sq/embed.W_E"].sum() > 0


def test_the_given_parameters_are_left_alone():
    config = make()
    given = start(config)
    copies = {k: v.clone() for k, v in given.items()}
    Trainer(config, given).update(batches(config, 1)[0])
    assert all(torch.equal(given[k], copies[k]) for k in given)


def test_a_smaller_batch_is_its_own_mean():
    config = make()
    batch = batches(config, 1)[0][:5]
    value = Trainer(config, start(config)).update(batch)
    assert value.item() == pytest.approx(loss(start(config), batch, config).item(), rel=1e-6)
    one = dataclasses.replace(config, batch_size=5)
    small, large = (Trainer(c, start(config)) for c in (one, config))
    small.update(batch)
    large.update(batch)
    assert all(torch.equal(small.params[k], large.params[k]) for k in small.params)


@pytest.mark.parametrize("kind", [{}, {"mlp_ratio": 0, "mlp_layers": None}], ids=["mlp", "attention-only"])
def test_200_steps_have_the_loss_curve_of_a_hooked_transformer_under_autograd(kind):
    config = make(model=kind)
    trainer, model = Trainer(config, pack(init(config))), ICLTransformer(config)
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=config.optim.lr)
    ours, theirs = [], []
    for batch in batches(config, 200):
        ours.append(float(trainer.update(batch)))
        adam.zero_grad()
        value = model(batch, return_type="loss")
        value.backward()
        adam.step()
        theirs.append(float(value.detach()))
    assert theirs[-1] < 0.9 * theirs[0]  # it learned something
    # Single precision: sums in another order part slowly. At step 0 they agree to the last bits.
    np.testing.assert_allclose(ours[:20], theirs[:20], rtol=1e-5)
    np.testing.assert_allclose(ours, theirs, rtol=2e-3)


@pytest.mark.slow
def test_what_a_second_core_does_changes_no_bit(monkeypatch):
    """A large label table: its softmax goes in halves and its Adam in pieces, with and without a helper."""
    config = Config(
        name="x",
        steps=5,
        batch_size=32,
        bank=BankConfig(n_classes=9000, n_exemplars=2, dim=6),
        model=ModelConfig(d_model=32, n_heads=2),
    )
    drawn, ends = batches(config, 5), []
    with share.thread() as pool:
        for helper in (None, pool):
            monkeypatch.setattr(share, "_helper", lambda helper=helper: helper)
            trainer = Trainer(config, start(config))
            losses = [float(trainer.update(batch)) for batch in drawn]
            ends.append((losses, trainer.state()))
    assert ends[0][0] == ends[1][0]
    for name, x in ends[0][1].items():
        assert torch.equal(x, ends[1][1][name]), name
    theirs, params = autograd_run(config, 5)
    np.testing.assert_allclose(ends[0][0], theirs, rtol=1e-5)
    for name, p in params.items():
        torch.testing.assert_close(ends[0][1][f"weights/{name}"], p.detach(), atol=1e-3, rtol=1e-2)
