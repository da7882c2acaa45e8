"""The command line, called in this process."""

from __future__ import annotations

import pytest

from mechicl import cli


def called(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run `mechicl ARGUMENTS`; returns exit code, stdout and stderr."""
    code = 0
    try:
        cli.main([str(a) for a in arguments])
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else 0 if stopped.code is None else 1
    out = capsys.readouterr()
    return code, out.out, out.err
