"""The page that `mechicl --help` prints: the first commands to try, then every command with one line."""

from __future__ import annotations

from mechicl.cli.verbs import Group

_HEAD = """\
usage: mechicl COMMAND ...

mechicl trains small transformers and keeps many checkpoints of each run. It
asks why in-context learning appears in training, and then fades.

Try these first:
"""
_FIRST = {
    "mechicl train demo": "train a small model (3 minutes)",
    "mechicl show checkpoints/demo": "see its curves in the terminal",
    "mechicl app checkpoints/demo": "explore it in the browser",
    "mechicl ablate checkpoints/demo --heads L0H5": "measure what a head does",
}
_FOOT = """\
mechicl COMMAND --help explains a command and its options, with examples.
mechicl --version      prints the version."""


def overview(groups: dict[Group, dict[str, str]]) -> str:
    """What `mechicl --help` prints, at most 80 columns wide.

    Args:
        groups: for each group its commands, as name -> what it does, in one line (`app.groups`).
    """
    wide = max(len(line) for line in _FIRST) + 2
    names = max(len(name) for commands in groups.values() for name in commands) + 2
    lines = [_HEAD + "\n".join(f"  {line:<{wide}}{what}" for line, what in _FIRST.items())]
    for group, commands in groups.items():
        lines.append("\n".join([f"{group.value}:", *(f"  {name:<{names}}{what}" for name, what in commands.items())]))
    return "\n\n".join([*lines, _FOOT])
