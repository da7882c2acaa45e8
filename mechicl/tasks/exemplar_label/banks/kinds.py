"""Kinds of exemplar banks: everything that is said of one stands in its entry here, or in your own module.

    from mechicl.tasks.exemplar_label.banks.kinds import bank

    @bank("moons", numbers="coordinates of moons")
    def moons(config, seed, data, *, turns: float = 1.0):
        return exemplars        # [class, exemplar, config.dim], training part first on both axes; or a Bank

Keyword-only parameters are the kind's own settings (`bank.options`). Nothing here computes, so that a config is checked
quickly: the functions of built-in kinds are imported when they are called.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechicl.doors import Door, check_name
from mechicl.errors import ConfigError
from mechicl.loading import Options
from mechicl.options import check_takes, filled, own_settings_of

if TYPE_CHECKING:
    import numpy as np

    from mechicl.tasks.exemplar_label.banks.bank import Bank
    from mechicl.tasks.exemplar_label.settings import BankConfig

    Builder = Callable[..., "Bank | np.ndarray"]

# Settings that only some kinds have, and their values where they are not used. (Others are ignored by the kinds that do
# not use them: recorded runs have such values.)
_NOT_OF_ALL = {"path": None, "layout": "as_stored", "offset": 0.0}


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a bank's exemplars are, before the config spreads, centres or scales them (shaping.py)."""

    numbers: str  # in a caption: '12 Gaussian features'
    unit_norm: bool = False  # of norm about 1
    centred: bool = False  # without a common mean
    no_pictures: str = ""  # what they are instead, where they are no square pictures that convolutions can read


@dataclass(frozen=True, kw_only=True)
class BankKind:
    """One kind of banks.

    build: (config, seed, data, **its own settings) -> a Bank, or exemplars [class, exemplar, dim]
    made: what the exemplars are, by config
    settings: which fields of BankConfig it uses, beside those of all kinds
    own: its own settings, name -> (type, default)
    check: raises ConfigError where the config asks for what this kind cannot be
    reads_data: whether it reads what `--data` names
    """

    name: str
    build: Builder
    made: Callable[[BankConfig], Made]
    settings: tuple[str, ...] = ()
    own: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    check: Callable[[BankConfig], None] = lambda config: None
    reads_data: bool = True


BANKS: Door[BankKind] = Door("bank kind")


def bank(
    name: str,
    *,
    numbers: str = "features",
    unit_norm: bool = False,
    centred: bool = False,
    no_pictures: str = "",
    made: Callable[[BankConfig], Made] | None = None,
    settings: tuple[str, ...] = (),
    check: Callable[[BankConfig], None] = lambda config: None,
    reads_data: bool = True,
) -> Callable[[Builder], Builder]:
    """Register a function as a kind of banks.

    Args:
        name: as in `bank.kind`.
        numbers, unit_norm, centred, no_pictures: as in `Made`; or `made`, where they depend on the config.
        settings, check, reads_data: as in `BankKind`.

    Raises:
        ConfigError: there is one of this name, it does not take config, seed and data, or one of its own settings has
            no type or no default.
    """
    check_name(BANKS.what, name)
    always = Made(numbers=numbers, unit_norm=unit_norm, centred=centred, no_pictures=no_pictures)

    def register(build: Builder) -> Builder:
        check_takes(build, f"the bank kind {name!r}", "config", "seed", "data")
        entry = BankKind(
            name=name,
            build=build,
            made=made or (lambda config: always),
            settings=settings,
            own=own_settings_of(build),
            check=check,
            reads_data=reads_data,
        )
        BANKS.add(name, entry, build.__module__)
        return build

    return register


def checked_options(config: BankConfig) -> Options:
    """The kind's own settings, those that were not given at their defaults.

    Raises:
        ConfigError: no such kind; a setting of another kind, or one that this kind cannot have.
    """
    try:
        kind = BANKS.find(config.kind)
    except ConfigError as error:
        raise ConfigError(f"bank.kind={config.kind!r}: {error}") from None
    for key, unused in _NOT_OF_ALL.items():
        given = getattr(config, key)
        if key not in kind.settings and given != unused:
            its = " or ".join(repr(name) for name, other in BANKS.items() if key in other.settings)
            raise ConfigError(
                f"bank.{key}={given!r} is a setting of bank.kind={its}, but this bank's kind is {config.kind!r}."
            )
    kind.check(config)
    return filled(config.options, kind.own, "bank.options")


def _built_in(place: str) -> Builder:
    """A function of mechicl by its place, 'module:name', imported when it is first called."""
    module, name = place.split(":")

    def build(config: BankConfig, seed: int, data: str | Path | None) -> Bank | np.ndarray:
        home = importlib.import_module(f"mechicl.tasks.exemplar_label.banks.{module}")
        return getattr(home, name)(config, seed, data)

    return build


_COMPONENTS = Made(numbers="Omniglot features", unit_norm=True, centred=True, no_pictures="principal components")
_PIXELS = Made(numbers="pixels")


def _of_omniglot(config: BankConfig) -> Made:
    return _PIXELS if config.encoder == "pixels" else _COMPONENTS


def _omniglot_sizes(config: BankConfig) -> None:
    if config.encoder == "pixels" and config.dim != config.image_size**2:
        raise ConfigError(
            f"bank.dim={config.dim}: bank.encoder='pixels' gives image_size**2 = "
            f"{config.image_size**2} numbers; set bank.dim to that."
        )


# Pictures of noise: nothing is near anything in them, but convolutions can be tested with a Gaussian bank.
bank(
    "gaussian",
    numbers="Gaussian features",
    unit_norm=True,
    settings=("within_class_std", "spectrum", "offset"),
    reads_data=False,
)(_built_in("gaussian:gaussian_bank"))
bank("omniglot", made=_of_omniglot, settings=("image_size", "transforms", "encoder"), check=_omniglot_sizes)(
    _built_in("omniglot:omniglot_bank")
)
bank("tokens", numbers="token-embedding features", unit_norm=True, centred=True, no_pictures="token embeddings")(
    _built_in("tokens:token_bank")
)
bank("features", numbers="encoder features", settings=("path", "layout"))(_built_in("features:features_bank"))
bank("file", numbers="features from a file", settings=("path",))(_built_in("features:file_bank"))
