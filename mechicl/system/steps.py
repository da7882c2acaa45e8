"""Which checkpoints `--steps` and `--every` mean: the same in every command."""

from __future__ import annotations

from collections.abc import Sequence

from mechicl.errors import ConfigError

Listed = tuple[int, ...] | range  # steps one by one, or all from the first to the last of a range


def parse_steps(text: str) -> Listed:
    """'0,500' or '0..3000' -> steps.

    Raises:
        ConfigError: another form, or a range that ends before it begins.
    """
    parts = [part.strip() for part in (text.split("..") if ".." in text else text.split(","))]
    numbers = all(part.isascii() and part.isdecimal() for part in parts)
    if not numbers or (".." in text and len(parts) != 2):
        raise ConfigError(f"--steps {text}: expected a list of steps, such as 0,500, or a range, such as 0..3000.")
    found = tuple(map(int, parts))
    if ".." in text and found[0] > found[1]:
        raise ConfigError(f"--steps {text}: expected the lower step first, {found[1]}..{found[0]}.")
    return range(found[0], found[1] + 1) if ".." in text else found


def check(steps: Listed | None, every: int | None) -> None:
    """Raise ConfigError unless `--steps` and `--every` can stand together."""
    if every is None:
        return
    if every < 1:
        raise ConfigError(f"--every {every}: expected at least one step, such as 1000.")
    if steps and not isinstance(steps, range):
        listed = ",".join(map(str, steps))
        raise ConfigError(
            f"--steps {listed} --every {every}: --every needs a range, not a list: "
            f"--steps {min(steps)}..{max(steps)} --every {every}. To choose other steps, too, give "
            f"every step in a list, without --every."
        )


def apart(steps: Sequence[int], every: int | None) -> list[int]:
    """Of ascending steps at most one in so many; the first and the last stay."""
    kept: list[int] = []
    for step in steps:
        if not kept or every is None or step - kept[-1] >= every:
            kept.append(step)
    return kept if not steps or kept[-1] == steps[-1] else [*kept, steps[-1]]


def coarse_to_fine(steps: Sequence[int]) -> list[int]:
    """All steps, in an order that outlines a whole curve early: ends, middle, quarters, ..."""
    last = len(steps) - 1
    order = dict.fromkeys([last, 0])
    stride = 1 << max(last, 1).bit_length()
    while stride > 1:
        stride //= 2
        order |= dict.fromkeys(range(0, last + 1, stride))
    return [steps[i] for i in order]
