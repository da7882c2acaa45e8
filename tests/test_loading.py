"""What Python builds is checked as what files say: it is refused by name, or it is saved, opened and trained.

Every settings dataclass and every field of it is found by walking from `Config`, so that a new one is covered."""

import dataclasses
import enum
import json
import math
import pathlib
import typing

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from mechicl import training_interventions
from mechicl.attention_patterns import PATTERNS
from mechicl.config import (
    BankConfig,
    Config,
    ModelConfig,
    OptimConfig,
    ScheduleConfig,
    SequenceConfig,
    TrainingIntervention,
    Window,
    from_dict,
    to_dict,
)
from mechicl.doors import home_of
from mechicl.errors import ConfigError
from mechicl.interventions import AblateHeads, AblateMLPs, ClampMatch, Temper
from mechicl.loading import check_types, type_hints
from mechicl.measures.grafts import Graft
from mechicl.protocol.known import TASKS
from mechicl.series import open_series
from mechicl.tasks.exemplar_label.banks.kinds import BANKS
from mechicl.tasks.exemplar_label.features.file import Features, write
from mechicl.training.loop import train

TINY = Config(
    name="tiny",
    steps=2,
    batch_size=4,
    n_eval=4,
    states=1,
    bank=BankConfig(n_classes=8, n_exemplars=3, n_holdout_classes=4, n_holdout_exemplars=1, dim=9),
    model=ModelConfig(d_model=8, n_heads=2, mlp_ratio=1, channels=(2,)),
    optim=OptimConfig(lr=1e-2, warmup_steps=1, l2=1e-3),
    checkpoint_steps=ScheduleConfig(windows=(Window(start=0, stop=1, every=1),)),
    training_interventions=(TrainingIntervention(kind="ablate", heads=((0, 1),)),),
)
SOUND = {  # of each class an instance that can be
    Config: TINY,
    TrainingIntervention: TINY.training_interventions[0],
    Window: TINY.checkpoint_steps.windows[0],
    AblateHeads: AblateHeads(heads=((0, 1),)),
    AblateMLPs: AblateMLPs(layers=(1,)),
    ClampMatch: ClampMatch(heads=((0, 1),)),
    Temper: Temper(heads=((0, 1),), temperature=2.0),
    Graft: Graft(parts=("mlp",), source=3),
}


def classes(hint) -> list[type]:
    """The settings dataclasses that an annotation names, at any depth."""
    if hasattr(hint, "from_plain"):  # one of several classes, which the value names
        return [c for task in TASKS.values() if task.__module__.startswith("mechicl.") for c in classes_of(task)]
    if dataclasses.is_dataclass(hint):
        return classes_of(hint)
    return [c for inner in typing.get_args(hint) for c in classes(inner)]


def classes_of(cls: type) -> list[type]:
    return [cls, *(c for inner in type_hints(cls).values() for c in classes(inner))]


CLASSES = list(dict.fromkeys([*classes(Config), AblateHeads, AblateMLPs, ClampMatch, Temper, Graft]))
FIELDS = [(cls, f.name) for cls in CLASSES for f in dataclasses.fields(cls)]


def sound(cls: type):
    return SOUND[cls] if cls in SOUND else cls()


class Kind(enum.StrEnum):
    ADAM = "penalty"


numbers = st.one_of(
    st.integers(-3, 12),
    st.integers(),
    st.floats(),
    st.floats(0, 1),
    st.booleans(),
    st.just(10**400),
    st.sampled_from([np.int64(2), np.int8(-1), np.float32(0.1), np.float64(0.5), np.float64("nan"), np.bool_(True)]),
)
scalars = st.one_of(
    st.none(),
    numbers,
    st.text(max_size=6),
    st.binary(max_size=2),
    st.sampled_from(["", "mlp", "cosine", "con", "../up", Kind.ADAM, np.str_("mlp"), pathlib.Path("x"), object()]),
)
anything = st.one_of(
    scalars,
    st.lists(numbers, max_size=3),
    st.lists(numbers, max_size=3).map(tuple),
    st.lists(scalars, max_size=2),
    st.lists(st.lists(numbers, min_size=2, max_size=2), max_size=3),
    st.sets(st.integers(), max_size=2),
    st.just(np.arange(2)),
    st.just(np.ones((1, 2))),
    st.just(range(2)),
    st.dictionaries(scalars, scalars, max_size=2),
    st.sampled_from([sound(c) for c in CLASSES]),
    st.sampled_from([[sound(c)] for c in CLASSES]),
)


def fitting(hint) -> st.SearchStrategy:
    """Values that an annotation allows, so that not only refusals are tried."""
    args = typing.get_args(hint)
    if hasattr(hint, "from_plain"):
        return st.sampled_from([sound(task) for task in classes(hint)])
    if typing.get_origin(hint) is typing.Literal:
        return st.sampled_from(args)
    if dataclasses.is_dataclass(hint):
        return st.just(sound(typing.cast(type, hint)))
    if typing.get_origin(hint) is tuple:
        size = {"max_size": 3} if args[-1] is Ellipsis else {"min_size": len(args), "max_size": len(args)}
        return st.lists(fitting(args[0]), **size)
    if args:
        return st.one_of(*map(fitting, args))
    plain = {int: st.integers(0, 9), float: st.floats(0, 2), str: st.sampled_from(["mlp", "a"]), bool: st.booleans()}
    return plain.get(hint, st.none())


@pytest.mark.parametrize(("cls", "name"), FIELDS, ids=lambda x: getattr(x, "__name__", x))
@given(data=st.data())
def test_every_field_is_refused_by_name_or_comes_back_from_json_as_it_is(cls, name, data):
    value = data.draw(st.one_of(anything, fitting(type_hints(cls)[name])))
    base = sound(cls)
    try:
        built = dataclasses.replace(base, **{name: value})
    except ConfigError as error:
        assert name in str(error) or repr(value) in str(error)  # noqa: PT017 "training intervention 'data' needs sequences"
        return
    again = from_dict(cls, json.loads(json.dumps(to_dict(built), allow_nan=False)))
    assert again == built
    assert repr(again) == repr(built)  # 1 == 1.0 == True: the types, too
    held = getattr(built, name)
    if isinstance(held, (bool, int, float, str)):
        assert held == value


@pytest.mark.parametrize(("cls", "name"), FIELDS, ids=lambda x: getattr(x, "__name__", x))
@pytest.mark.parametrize("value", [object(), b"x", float("nan"), 1j, {1: 2}, [[["x"]]], Kind.ADAM])
def test_what_no_field_takes_is_refused_and_shown(cls, name, value):
    with pytest.raises(ConfigError) as error:
        dataclasses.replace(sound(cls), **{name: value})
    assert name in str(error.value)
    assert "expected" in str(error.value) or "Known: " in str(error.value)


LITERALS = [
    (cls, name, value)
    for cls, name in FIELDS
    for hint in (type_hints(cls)[name], *typing.get_args(type_hints(cls)[name]))
    if typing.get_origin(hint) is typing.Literal
    for value in typing.get_args(hint)
]


def test_the_walk_finds_the_fields_that_it_is_for():
    assert {BankConfig, SequenceConfig, ModelConfig, OptimConfig, ScheduleConfig, Window, TrainingIntervention} <= set(
        CLASSES
    )
    assert (OptimConfig, "lr_schedule", "inverse_sqrt") in LITERALS


@pytest.mark.parametrize(("cls", "name", "value"), LITERALS, ids=str)
def test_a_literal_that_is_nearly_one_is_refused_with_those_that_are(cls, name, value):
    near = value + "x" if isinstance(value, str) else value + 0.5
    listed = typing.get_origin(type_hints(cls)[name]) is tuple
    with pytest.raises(ConfigError) as error:
        dataclasses.replace(sound(cls), **{name: (near,) if listed else near})
    assert f"{name}{'[0]' * listed}={near!r}: expected one of " in str(error.value)
    assert repr(value) in str(error.value)


# What else a value of a Literal needs before it can be.
WITH = {
    ("kind", "tokens"): {"n_holdout_classes": 1, "n_holdout_exemplars": 0},
    ("kind", "omniglot"): {"transforms": 1},
    ("label_pairs", "held_out"): {"labels": "random", "held_out_pairs": 1},
    ("layout", "released"): {
        "kind": "features",
        "n_exemplars": TINY.bank.n_exemplars + TINY.bank.n_holdout_exemplars,
        "n_holdout_exemplars": 0,
    },
}
TREATED = {
    "ablate": {"heads": ((0, 1),)},
    "clamp": {"heads": ((0, 1),), "pattern": "self"},
    "freeze": {"groups": ("mlp",)},
    "reset": {"groups": ("mlp",), "start": 1},
    "data": {"sequences": SequenceConfig(labels="random")},
    "relabel": {"every": 1},
    "fresh_moments": {"start": 1},
    "clamp_match": {"heads": ((1, 0),)},
    "clamp_copy": {"heads": ((1, 0),)},
    "clamp_layer": {},
    "graft": {"groups": ("mlp",), "source": "{source}", "step": 2},
}
SECTION = {BankConfig: "bank", SequenceConfig: "sequences", ModelConfig: "model", OptimConfig: "optim"}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> pathlib.Path:
    """A finished run, to graft from."""
    root = tmp_path_factory.mktemp("source") / "tiny"
    train(dataclasses.replace(TINY, training_interventions=()), root, progress=False)
    return root


def settings(cls: type, name: str, value, source: pathlib.Path) -> Config:
    """A tiny config with this value of a Literal in it."""
    plain = dataclasses.replace(TINY, training_interventions=())
    if cls is TrainingIntervention:
        kind = value if name == "kind" else "clamp"
        given = TREATED[kind] | ({} if name == "kind" else {name: value})
        given = {k: str(source) if v == "{source}" else v for k, v in given.items()}
        if kind == "clamp_layer":  # defined for a first layer of attention alone
            plain = dataclasses.replace(plain, model=dataclasses.replace(plain.model, mlp_layers=(1,)))
        return dataclasses.replace(plain, training_interventions=(TrainingIntervention(kind=kind, **given),))
    changes = {name: value} | WITH.get((name, value), {})
    if cls is Config:
        return dataclasses.replace(plain, **changes)
    section = SECTION[cls]
    return dataclasses.replace(plain, **{section: dataclasses.replace(getattr(plain, section), **changes)})


KINDS = [
    *((BankConfig, "kind", kind) for kind in ("gaussian", "omniglot", "tokens", "features", "file")),
    *((TrainingIntervention, "kind", kind) for kind in TREATED),
    *((TrainingIntervention, "pattern", pattern) for pattern in PATTERNS),
]


def test_every_kind_that_comes_with_mechicl_is_trained_below():
    own = {kind for kind in BANKS if (home_of(BANKS.what, kind) or "").startswith("mechicl.")}
    assert own == {kind for cls, _, kind in KINDS if cls is BankConfig}
    assert {*training_interventions.KINDS} == {*TREATED}


@pytest.mark.parametrize(
    ("cls", "name", "value"), [x for x in LITERALS if x[0] in (*SECTION, Config, TrainingIntervention)] + KINDS, ids=str
)
def test_every_value_of_a_literal_trains_and_opens(cls, name, value, source, tmp_path):
    data = None
    config = settings(cls, name, value, source)
    if config.bank.kind != "gaussian":
        made = {"omniglot": drawings, "tokens": tokens, "features": features, "file": own_array}
        data = made[config.bank.kind](tmp_path)
    series = train(config, tmp_path / "run", data=data, progress=False)
    assert series.complete
    assert open_series(tmp_path / "run").config == config
    assert all(w.isfinite().all() for w in series.weights(2).values())
    assert np.isfinite(series.metrics.value).all()


def own_array(folder: pathlib.Path) -> pathlib.Path:
    bank = TINY.bank
    shape = (bank.n_classes + bank.n_holdout_classes, bank.n_exemplars + bank.n_holdout_exemplars, bank.dim)
    np.save(folder / "mine.npy", np.random.default_rng(0).normal(size=shape).astype(np.float32))
    return folder / "mine.npy"


def drawings(folder: pathlib.Path) -> pathlib.Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for character in range(12):
        place = folder / "images" / "Alphabet" / f"character{character:02d}"
        place.mkdir(parents=True)
        for drawing in range(4):
            ink = rng.random((105, 105)) < 0.1
            Image.fromarray(~ink).save(place / f"{character:04d}_{drawing:02d}.png")
    return folder / "images"


def features(folder: pathlib.Path) -> pathlib.Path:
    bank = TINY.bank
    shape = bank.n_classes + bank.n_holdout_classes, bank.n_exemplars + bank.n_holdout_exemplars, bank.dim
    x = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    write(folder / "f.safetensors", Features(x, tuple(map(str, range(len(x))))))
    return folder / "f.safetensors"


def tokens(folder: pathlib.Path) -> pathlib.Path:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    table = rng.standard_normal((12, 9))[np.arange(120) % 12] + 0.05 * rng.standard_normal((120, 9))
    save_file({"table": table.astype(np.float32)}, folder / "table.safetensors")
    return folder / "table.safetensors"


# The walk itself.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    whole: int = 1
    real: float = 1.0
    pairs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        check_types(self, "given")


@given(st.integers(-(2**63) + 1, 2**63 - 1))
@example(2**63 - 1)
def test_numbers_of_numpy_are_pythons(n):
    assert type(Given(whole=np.int64(n)).whole) is int
    assert Given(whole=np.int64(n)) == Given(whole=n)
    assert Given(pairs=np.array([[n, n]])) == Given(pairs=((n, n),)) == Given(pairs=[[n, n]])
    assert type(Given(real=n).real) is float


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_small_float_keeps_its_value(x):
    assert Given(real=np.float32(x)).real == x
    assert math.copysign(1, Given(real=np.float32(x)).real) == math.copysign(1, x)


def test_what_is_given_as_it_is_meant_stays_the_same_object():
    pairs = ((1, 2), (3, 4))
    assert Given(pairs=pairs).pairs is pairs
