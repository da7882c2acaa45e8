"""What is on the page, as one frozen value: to and from a URL.

Everything a reader chose is here and nothing else is, so a link shows a colleague the same
page. A link may come from anyone: what it says is checked, never trusted, and a mistake is
one sentence that says what was given and what is expected.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, quote, unquote

from mechicl.errors import ConfigError, SeriesError, did_you_mean
from mechicl.evaluators import EVALUATORS
from mechicl.interventions import Intervention, Kind
from mechicl.measures import words
from mechicl.measures.door import own_of_heads
from mechicl.measures.words import Head as Head
from mechicl.measures.words import Options, Words
from mechicl.registry import main

Axis = Literal["log", "linear"]
Unit = Literal["sequences", "steps"]
Tab = Literal["attention", "logits", "compare"]
SCORES = ("previous_token", "induction_strength", "prefix_matching", "to_first")  # of attention
MEASURES = (*SCORES, "logit", *(f"effect_{n}" for n in main()))
LONGEST = 4000  # characters of a query string; a view of 64 heads has under 600


class ViewError(SeriesError):
    """A view that cannot be shown: says which part, what was given and what is expected."""


@dataclass(frozen=True, kw_only=True)
class View(Options):
    """The state of the page: what is done to the model, as `mechicl ablate` says it (`measures.words`), and how one
    looks at it. None stands for a choice that the run makes: `settled` fills it in.
    """

    run: str
    step: int | None = None
    measure: str = MEASURES[0]
    evaluator: str = ""  # whose sequences the heads, patterns and logits are looked at on; '': the run's leading one
    sequence: int | None = None  # None: the average
    head: Head | None = None  # the one whose pattern is enlarged; None: all
    axis: Axis = "log"
    unit: Unit = "sequences"
    tab: Tab = "attention"
    with_run: str | None = None  # compared with; None: this run
    with_step: int | None = None
    seeds: tuple[str, ...] = ()  # the runs that are shown together; () where the run is alone
    over: str | None = None  # the evaluator whose curves over seeds are drawn; None: the run's leading one
    threshold: float = 0.02  # the least effect of a path of the circuit, as in analyses.circuit_formation
    track: str = "attention_scores"  # the measure that is followed over training
    score: str = ""  # which of its metrics; '': the first
    items: tuple[str, ...] = ()  # the heads, components or paths whose curves are drawn; (): the strongest
    against: str = ""  # what is laid over them: 'own', 'run/NAME' or 'condition/NAME' (NAME is a run of it)

    @classmethod
    def from_query(cls, query: str, default_run: str = "") -> View:
        """The view that a URL's query string names, '?run=demo&step=3000&heads=L0H5,L1H3'. Heads may also be written
        as '0.5,1.3': links were, once.

        Raises:
            ViewError: an unknown or repeated key, or a value that is not one of the key's.
        """
        if len(query) > LONGEST:
            raise ViewError(f"the link is {len(query):,} characters long; the longest possible view has {LONGEST:,}.")
        given: dict[str, Any] = {}
        for key, text in parse_qsl(query.removeprefix("?"), keep_blank_values=True):
            if key == "token":  # the server's, not the view's
                continue
            if key not in _READ:
                parts = ", ".join(_READ)
                raise ViewError(f"{key!r} is not a part of a view.{did_you_mean(key, _READ)} Parts: {parts}.")
            if key in given:
                raise ViewError(f"the link has {key!r} twice.")
            try:
                given[key] = _READ[key](text)
            except ConfigError as error:
                raise ViewError(str(error)) from None
            except ValueError as error:
                raise ViewError(f"{key}={text[:60]!r}: expected {error}.") from None
        if not given.get("run"):
            given["run"] = default_run
        return cls(**given)

    def query(self) -> str:
        """The query string, without '?'; what is as by default is left out."""
        parts = []
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if name == "run" or value != default:
                parts.append(f"{name}={quote(_write(name, value), safe=',:@')}")
        return "&".join(parts)

    @property
    def words(self) -> Words:
        """What is done to the model, as `mechicl ablate` says it."""
        return Words(**{name: getattr(self, name) for name in words.NAMES})

    @property
    def intervention(self) -> Intervention | None:
        """What is done to the model, or None where nothing is.

        Raises:
            ViewError: its parts do not go together.
        """
        try:
            return self.words.intervention()
        except ConfigError as error:
            raise ViewError(str(error)) from None

    def untouched(self) -> View:
        """The same view of the intact model; the kind stays, for what is ablated next."""
        blank = {name: getattr(_INTACT, name) for name in words.NAMES if name != "kind"}
        return dataclasses.replace(self, **blank)

    def also(self, *, heads: tuple[Head, ...] = (), mlp: tuple[int, ...] = ()) -> View:
        """The same view with more ablated."""
        return dataclasses.replace(
            self, heads=tuple(sorted({*self.heads, *heads})), mlp=tuple(sorted({*self.mlp, *mlp}))
        )


_FIELDS = {field.name: field.default for field in dataclasses.fields(View)}
_DEFAULTS = {name: _FIELDS[name] for name in dict.fromkeys(("run", "step", *words.NAMES, *_FIELDS))}
PARTS = tuple(_DEFAULTS)  # of a view, in the order of a link


def effect_of(measure: str) -> str | None:
    """The evaluator whose change a measure is, where it is one of ablations."""
    name = measure.removeprefix("effect_")
    return name if measure in MEASURES and name != measure else None


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return text

    return read


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 12):
        raise ValueError("a whole number, 0 or more")
    return int(text)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.]{0,80}", text):
        raise ValueError("a name")
    return text


def _items(text: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(part for part in text.split(",") if part))
    if len(found) > 8 or not all(re.fullmatch(r"[A-Za-z0-9_.>-]{1,40}", part) for part in found):
        raise ValueError("up to eight heads, components or paths, such as L0H5,L0H5->L1H3.k")
    return found


def _size(text: str) -> float:
    if not (re.fullmatch(r"[0-9]{0,6}\.?[0-9]{1,12}", text) and float(text) > 0):
        raise ValueError("a number above 0, such as 0.02")
    return float(text)


def _head(text: str) -> Head:
    layer, dot, head = text.partition(".")
    if not dot:
        raise ValueError("LAYER.HEAD, such as 0.5")
    return _whole(layer), _whole(head)


def _heads(text: str) -> tuple[Head, ...]:
    named = [f"L{part.replace('.', 'H')}" if _OLD.fullmatch(part) else part for part in text.split(",") if part]
    return words.read("heads", ",".join(named)) if named else ()


_OLD = re.compile(r"[0-9]+\.[0-9]+")  # a head, as links had it


def _run_name(text: str) -> str:
    if not text or text in (".", "..") or any(c in text for c in "/\\\0"):
        raise ValueError("the name of a run in the same folder, without a path")
    return text


def _run_names(text: str) -> tuple[str, ...]:
    """Names with '%2C' for a comma of their own."""
    return tuple(dict.fromkeys(_run_name(unquote(part)) for part in text.split(",") if part))


def _against(text: str) -> str:
    what, slash, name = text.partition("/")
    if text in ("", "own") or (slash and what in ("run", "condition") and _run_name(name)):
        return text
    raise ValueError("own, run/NAME or condition/NAME")


def _done(name: str) -> Callable[[str], Any]:
    return lambda text: words.read(name, text) if text else getattr(_INTACT, name)


def _write(name: str, value: Any) -> str:
    if name in words.NAMES:
        return words.write(name, value)
    if name == "items":
        return ",".join(value)
    if name == "seeds":
        return ",".join(quote(each, safe="") for each in value)
    return f"{value[0]}.{value[1]}" if isinstance(value, tuple) else str(value)


_INTACT = Words()


_READ: dict[str, Callable[[str], Any]] = {
    **{name: _done(name) for name in words.NAMES},
    "run": _run_name,
    "step": _whole,
    "heads": _heads,
    "kind": _one_of(*get_args(Kind)),
    "measure": lambda text: _one_of(*MEASURES, *own_of_heads())(text),
    "evaluator": _one_of(*EVALUATORS),
    "sequence": _whole,
    "head": _head,
    "axis": _one_of(*get_args(Axis)),
    "unit": _one_of(*get_args(Unit)),
    "tab": _one_of(*get_args(Tab)),
    "with_run": _run_name,
    "with_step": _whole,
    "seeds": _run_names,
    "over": _one_of(*EVALUATORS),
    "against": _against,
    "threshold": _size,
    "track": lambda text: _name(text) or View.track,
    "score": _name,
    "items": _items,
}
