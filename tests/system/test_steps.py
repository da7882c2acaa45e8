"""--steps and --every: one reader, one meaning."""

from typing import get_type_hints

import pytest

import mechicl.sweeps.look  # noqa: F401  (before `verify` is patched: it keeps the one that it finds at import)
from mechicl import cli
from mechicl.cli import arguments
from mechicl.cli.reading import Reading
from mechicl.errors import ConfigError
from mechicl.sources.base import Asked
from mechicl.system.steps import apart, check, parse_steps


def test_steps_are_read_from_text():
    assert parse_steps("0,500, 1000") == (0, 500, 1000)
    assert parse_steps("5..7") == range(5, 8)
    with pytest.raises(ConfigError, match=r"--steps 3000\.\.0: expected the lower step first, 0\.\.3000\."):
        parse_steps("3000..0")
    for text in ("", "x", "1..5..9", "..5", "1..", "-1", "1,,2", "²", "-3..5", "1,2..5"):
        with pytest.raises(ConfigError, match="--steps"):
            parse_steps(text)


@pytest.mark.parametrize(
    ("steps", "every", "kept"),
    [
        ([], 5, []),
        ([0, 1, 5, 10, 20], None, [0, 1, 5, 10, 20]),
        ([0, 1, 5, 10, 20], 5, [0, 5, 10, 20]),
        ([0, 1, 5, 10, 20], 6, [0, 10, 20]),
        ([500, 1000, 1500, 2000], 1000, [500, 1500, 2000]),
    ],
)
def test_at_most_one_in_so_many_with_both_ends(steps, every, kept):
    assert apart(steps, every) == kept


def test_a_list_and_a_distance_are_answered_with_the_range():
    with pytest.raises(ConfigError, match=r"--steps 1\.\.512 --every 1000"):
        check((512, 1), 1000)
    check(range(1, 513), 1000)
    check(None, 1000)
    check((1, 2), None)


def test_a_source_understands_them_as_a_series_does():
    have = [1000, 0, 1, 512, 2000]
    assert Asked(every=1000).chosen(have, "x") == [0, 1000, 2000]
    assert Asked(steps=range(1, 1001)).chosen(have, "x") == [1, 512, 1000]
    assert Asked(steps=range(1, 1001), every=500).chosen(have, "x") == [1, 512, 1000]
    assert Asked(steps=(512, 0)).chosen(have, "x") == [0, 512]
    with pytest.raises(ConfigError, match="chooses no step of x"):
        Asked(steps=range(3, 9)).chosen(have, "x")


def helps(hint) -> list[str]:
    return [said.help for said in getattr(hint, "__metadata__", ()) if getattr(said, "help", None)]


def test_every_command_that_chooses_checkpoints_says_the_same():
    """`train --steps` and `densify --every` make checkpoints: they say how many steps, and how far apart."""
    shared = get_type_hints(Reading, include_extras=True)
    for verb in ("analyze", "measure", "report", "ablate", "open_checkpoints"):
        hints = getattr(cli, verb).__annotations__
        hints = shared if "reading" in hints else hints
        for name, kind in (("steps", arguments.Steps), ("every", arguments.Every)):
            assert helps(hints[name]) == helps(kind), verb
            assert helps(kind)


@pytest.mark.parametrize(("words", "again"), [([], 5), (["--all"], None), (["--every"], None)])
def test_verify_takes_all_and_its_old_name(monkeypatch, tiny_series, words, again):
    asked = []
    monkeypatch.setattr("mechicl.series.verify.verify", lambda run, **said: asked.append(said["again"]) or [])
    cli.main(["verify", str(tiny_series.root), *words])
    assert asked == [again]
