"""Configs: round trips, strict loading by name, and every refusal with its reason."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechicl import recipes
from mechicl.config import (
    BankConfig,
    Config,
    ModelConfig,
    OptimConfig,
    ScheduleConfig,
    Seeds,
    SequenceConfig,
    Window,
    from_dict,
    from_run,
    to_dict,
)
from mechicl.errors import ConfigError

FULL = Config(
    name="full.run-1_a",
    steps=100,
    batch_size=4,
    bank=BankConfig(n_classes=32, n_labels=8, within_class_std=0.0),
    sequences=SequenceConfig(n_pairs=4, burstiness=2, zipf=1.0, exemplars="no_replacement"),
    model=ModelConfig(n_layers=3, mlp_ratio=4, mlp_layers=(0, 2), positions="rotary"),
    optim=OptimConfig(betas=(0.8, 0.99), l2=1e-4, l2_form="decoupled", l2_group="mlp"),
    checkpoint_steps=ScheduleConfig(steps=(3, 5), windows=(Window(start=1, stop=9, every=2),)),
    seeds=Seeds(init=3, data=4, eval=5),
)


@pytest.mark.parametrize("config", [FULL, *(recipes.get(name) for name in recipes.RECIPES)])
def test_round_trip_through_json(config):
    again = from_dict(Config, json.loads(json.dumps(to_dict(config))))
    assert again == config
    assert type(again.checkpoint_steps.windows) is tuple
    assert type(again.optim.betas) is tuple


def test_every_field_reaches_the_dict():
    data = to_dict(FULL)
    for f in dataclasses.fields(Config):
        assert f.name in data or f.name == "task"  # a run says the settings of its own task alone
    assert data["model"]["mlp_layers"] == (0, 2)
    assert data["checkpoint_steps"]["windows"] == ({"start": 1, "stop": 9, "every": 2},)


def changed(path: str, value) -> dict:
    """FULL as plain data, with the value at a dotted path replaced."""
    data = json.loads(json.dumps(to_dict(FULL)))
    node = data
    *parents, leaf = path.split(".")
    for key in parents:
        node = node[int(key) if key.isdigit() else key]
    node[int(leaf) if leaf.isdigit() else leaf] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("stepz", 1, "config.stepz: unknown key. Did you mean 'steps'?"),
        ("bank.within_class_stdilon", 1, "config.bank.within_class_stdilon: unknown key. "),
        ("model.n_head", 1, "config.model.n_head: unknown key. Did you mean 'n_heads'?"),
        (
            "checkpoint_steps.windows.0.evry",
            1,
            "config.checkpoint_steps.windows[0].evry: unknown key. Did you mean 'every'?",
        ),
        ("steps", "many", "config.steps='many': expected int, got str."),
        ("steps", 10.0, "config.steps=10.0: expected int, got float."),
        ("steps", True, "config.steps=True: expected int, got bool."),
        ("n_eval", None, "config.n_eval=None: expected int, got NoneType."),
        ("optim.lr", "1e-3", "config.optim.lr='1e-3': expected float, got str."),
        ("optim.lr", True, "config.optim.lr=True: expected float, got bool."),
        ("optim.betas", [0.9], "config.optim.betas=[0.9]: expected 2 values."),
        ("optim.betas", 0.9, "config.optim.betas=0.9: expected a list."),
        ("optim.betas", [0.9, "x"], "config.optim.betas[1]='x': expected float, got str."),
        ("model.layer_norm", 1, "config.model.layer_norm=1: expected bool, got int."),
        ("model.positions", "alibi", "expected one of 'learned', 'sinusoidal', 'rotary'."),
        ("bank.transforms", 3, "config.bank.transforms=3: expected one of 1, 2, 4, 8."),
        ("bank.transforms", True, "config.bank.transforms=True: expected one of 1, 2, 4, 8."),
        ("bank.n_labels", "8", "config.bank.n_labels='8': expected int, got str."),
        ("model.mlp_layers", [0, "1"], "config.model.mlp_layers[1]='1': expected int, got str."),
        ("bank", [], "config.bank: expected a table of settings, got []."),
        ("checkpoint_steps.windows", [3], "config.checkpoint_steps.windows[0]: expected a table of settings, got 3."),
        ("name", 7, "config.name=7: expected str, got int."),
    ],
)
def test_loading_names_the_key(path, value, message):
    with pytest.raises(ConfigError) as error:
        from_dict(Config, changed(path, value))
    assert message in str(error.value)


def test_loading_wants_the_required_keys():
    with pytest.raises(ConfigError, match=r"config\.steps: missing"):
        from_dict(Config, {"name": "x"})
    with pytest.raises(ConfigError, match="expected a table"):
        from_dict(Config, None)


def test_whole_numbers_load_as_floats():
    loaded = from_dict(Config, changed("optim.lr", 1))
    assert loaded.optim.lr == 1.0
    assert type(loaded.optim.lr) is float


def conv(**bank) -> Config:
    return Config(name="x", steps=1, bank=BankConfig(**bank), model=ModelConfig(encoder="conv"))


def test_missing_keys_take_their_defaults():
    assert from_dict(Config, {"name": "x", "steps": 3}) == Config(name="x", steps=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BankConfig(n_classes=1), "bank.n_classes=1: expected at least 2."),
        (lambda: BankConfig(n_exemplars=0), "bank.n_exemplars=0: expected at least 1."),
        (lambda: BankConfig(dim=0), "bank.dim=0: expected at least 1."),
        (lambda: BankConfig(within_class_std=-0.1), "bank.within_class_std=-0.1: expected at least 0."),
        (lambda: BankConfig(within_class_std=float("nan")), "bank.within_class_std=nan: expected a finite number."),
        (lambda: BankConfig(n_holdout_classes=-1), "bank.n_holdout_classes=-1: expected at least 0."),
        (lambda: BankConfig(n_holdout_exemplars=-1), "bank.n_holdout_exemplars=-1: expected at least 0."),
        (lambda: BankConfig(n_classes=8, n_labels=9), "between 2 and n_classes=8"),
        (lambda: BankConfig(n_classes=8, n_labels=1), "between 2 and n_classes=8"),
        (lambda: SequenceConfig(n_pairs=0), "sequences.n_pairs=0: expected at least 1."),
        (lambda: SequenceConfig(burstiness=-1), "sequences.burstiness=-1: expected at least 0."),
        (lambda: SequenceConfig(zipf=float("nan")), "sequences.zipf=nan: expected a finite number."),
        (lambda: SequenceConfig(n_pairs=4, burstiness=3), "need 2b <= n_pairs, but n_pairs=4"),
        (lambda: SequenceConfig(p_bursty=1.1), "sequences.p_bursty=1.1 is not a probability"),
        (lambda: SequenceConfig(p_bursty=-0.1), "is not a probability"),
        (lambda: SequenceConfig(labels="swapped", n_pairs=4), "relabels exactly two classes"),
        (lambda: SequenceConfig(labels="binary", p_bursty=0.5), "relabels exactly two classes"),
        (lambda: SequenceConfig(labels="random", burstiness=0), "its class must be shown in every context"),
        (lambda: SequenceConfig(labels="random", p_bursty=0.9), "its class must be shown in every context"),
        (lambda: SequenceConfig(copy_query_label=True), "the query's class must be absent"),
        (lambda: SequenceConfig(copy_query_label=True, burstiness=0), "the query's class must be absent"),
        (lambda: ModelConfig(d_model=10, n_heads=4), "model.d_model=10 is not a multiple of n_heads=4"),
        (lambda: ModelConfig(d_model=6, n_heads=2, positions="rotary"), "needs an even head size, not 3"),
        (lambda: ModelConfig(d_model=9, n_heads=3, positions="sinusoidal"), "an even d_model, not 9"),
        (lambda: ModelConfig(mlp_ratio=4, mlp_layers=(2,)), "names layer 2; layers are 0..1"),
        (lambda: ModelConfig(mlp_layers=(1,)), "mlp_layers is set but mlp_ratio is 0"),
        (lambda: ModelConfig(n_heads=0), "model.n_heads=0: expected at least 1."),
        (lambda: ModelConfig(channels=()), "model.channels=(): expected at least one convolution"),
        (lambda: ModelConfig(channels=(16, 0)), "model.channels=(16, 0): expected at least one convolution"),
        (lambda: BankConfig(kind="omniglot", encoder="pixels"), "image_size**2 = 784 numbers; set bank.dim to that"),
        (lambda: conv(dim=12), "reads square pictures, but bank.dim=12 is not a square number"),
        (lambda: conv(kind="omniglot"), "exemplars are principal components: use model.encoder='linear', or"),
        (lambda: conv(kind="tokens", dim=256), "exemplars are token embeddings: use model.encoder='linear', or"),
        (lambda: OptimConfig(lr=-1), "optim.lr=-1.0: expected at least 0."),
        (lambda: OptimConfig(lr_schedule="inverse_sqrt"), "set warmup_steps to at least 1"),
        (lambda: Window(start=5, stop=4, every=1), "window 5..4 every 1"),
        (lambda: Window(start=0, stop=4, every=0), "window 0..4 every 0"),
        (lambda: ScheduleConfig(log_points=-1), "checkpoint_steps.log_points=-1: expected at least 0."),
        (lambda: Config(name="", steps=1), "a run's name is made of letters"),
        (lambda: Config(name="../x", steps=1), "a run's name is made of letters"),
        (lambda: Config(name="a/b", steps=1), "a run's name is made of letters"),
        (lambda: Config(name=".x", steps=1), "does not start with a dot"),
        (lambda: Config(name="x.", steps=1), "name='x.': Windows cannot have such a folder"),
        (lambda: Config(name="nul.1", steps=1), "name='nul.1': Windows cannot have such a folder"),
        (lambda: Config(name="é" * 91, steps=1), "182 bytes, but a run's name"),
        (lambda: OptimConfig(betas=(0.9, 1.0)), "optim.betas=(0.9, 1.0): expected two numbers from 0 to below 1"),
        (lambda: OptimConfig(betas=(-0.1, 0.9)), "optim.betas=(-0.1, 0.9): expected two numbers"),
        (lambda: OptimConfig(adam_eps=0.0), "optim.adam_eps=0.0: expected at least 1.1"),
        (lambda: OptimConfig(lr=float("inf")), "optim.lr=inf: expected a finite number."),
        (lambda: ModelConfig(position_time=0.0), "model.position_time=0.0: expected a time above 0"),
        (lambda: BankConfig(within_class_std=1e200), "bank.within_class_std=1e+200: expected at most 1e+15."),
        (lambda: SequenceConfig(noise=1e200), "sequences.noise=1e+200: expected at most 1e+15."),
        (lambda: Config(name="x", steps=1, sequences=SequenceConfig(zipf=60)), "take too long to draw. Lower zipf"),
        (lambda: Config(name="x", steps=0), "config.steps=0: expected at least 1."),
        (lambda: Config(name="x", steps=1, threads=0), "config.threads=0: expected at least 1."),
    ],
)
def test_refusals_say_why(make, message):
    with pytest.raises(ConfigError) as error:
        make()
    assert message in str(error.value)


def test_configs_are_frozen_and_keyword_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FULL.steps = 3
    with pytest.raises(TypeError):
        Config("x", 3)


def test_with_seed_keeps_the_evaluation_sets():
    seeded = FULL.with_seed(9)
    assert seeded.seeds == Seeds(init=9, data=9, eval=FULL.seeds.eval)
    assert dataclasses.replace(seeded, seeds=FULL.seeds) == FULL


def test_n_tokens_and_d_head():
    assert SequenceConfig(n_pairs=8).n_tokens == 17
    assert ModelConfig(d_model=64, n_heads=8).d_head == 8


def test_has_mlp():
    assert [ModelConfig().has_mlp(i) for i in range(2)] == [False, False]
    assert [ModelConfig(mlp_ratio=4).has_mlp(i) for i in range(2)] == [True, True]
    assert [ModelConfig(mlp_ratio=4, mlp_layers=(1,)).has_mlp(i) for i in range(2)] == [False, True]


@given(st.integers(0, 400), st.integers(1, 100))
def test_lr_warms_up_then_decays_as_inverse_sqrt(step, warmup):
    done = step + 1
    constant = OptimConfig(lr=0.5, warmup_steps=warmup)
    decaying = dataclasses.replace(constant, lr_schedule="inverse_sqrt")
    assert constant.lr_at(step) == pytest.approx(0.5 * min(1, done / warmup))
    assert decaying.lr_at(step) == pytest.approx(0.5 * min(done / warmup, (warmup / done) ** 0.5))
    assert decaying.lr_at(4 * warmup - 1) == pytest.approx(0.25)


def test_constant_lr_without_warmup():
    assert [OptimConfig(lr=0.1).lr_at(s) for s in (0, 1, 1000)] == [0.1, 0.1, 0.1]


@pytest.mark.parametrize(("rule", "then"), [("replacement", "replacement"), ("matched", "as_training")])
def test_a_run_from_before_evaluation_sets_had_a_rule_keeps_its_own(rule, then):
    """What it recorded was measured on sets that followed its training data."""
    config = Config(name="x", steps=1, sequences=SequenceConfig(exemplars=rule))
    old = to_dict(config)
    del old["eval_exemplars"]
    assert from_run(old) == dataclasses.replace(config, eval_exemplars=then)
    for now in (config, dataclasses.replace(config, eval_exemplars="as_training")):
        assert from_run(to_dict(now)) == now
    assert from_dict(Config, old) == config  # a user's file: the default of today
