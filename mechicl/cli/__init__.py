"""The command line. Imports nothing heavy until a verb runs."""

from __future__ import annotations

import os
import sys

from tyro.conf import DisallowNone

import mechicl
from mechicl import own_code, plugins
from mechicl.cli.analysing import ablate, analyze, measure
from mechicl.cli.branching import branch
from mechicl.cli.create import densify, recipes, sweep, train
from mechicl.cli.data import features, tokenizer
from mechicl.cli.look import report, show, verify
from mechicl.cli.opening import open_checkpoints
from mechicl.cli.overview import overview
from mechicl.cli.publishing import publish
from mechicl.cli.serving import open_app
from mechicl.cli.sharing import export
from mechicl.cli.verbs import app
from mechicl.errors import ConfigError, SeriesError
from mechicl.system.output import never_crash

__all__ = [
    "ablate",
    "analyze",
    "app",
    "branch",
    "densify",
    "export",
    "features",
    "main",
    "measure",
    "open_app",
    "open_checkpoints",
    "publish",
    "recipes",
    "report",
    "show",
    "sweep",
    "tokenizer",
    "train",
    "verify",
]

# What does, when it is run again, only what it had not done yet.
GOES_ON = ("train", "branch", "sweep", "densify", "analyze", "measure", "ablate", "report", "export", "features")
GOES_ON += ("open", "publish")


def main(args: list[str] | None = None) -> None:
    """Entry point: errors a user can act on, and those of a plugin, are one message and exit code 2."""
    never_crash()
    given = sys.argv[1:] if args is None else args
    if given == ["--version"]:
        print(f"mechicl {mechicl.__version__}")
        return
    if given[:1] in ([], ["-h"], ["--help"]):
        print(overview(app.groups))
        if given:
            return
        raise SystemExit(2)
    try:
        plugins.load(plugins.named(given))  # before the line is parsed: help lists what they add
        app.cli(
            prog="mechicl",
            args=args,
            config=(DisallowNone,),
        )
        sys.stdout.flush()  # here, so that an error of it is reported below
    except (ConfigError, SeriesError) as error:
        print(f"mechicl: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:  # `mechicl show RUN | head`: the reader has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python prints another error at exit
        raise SystemExit(141) from None
    except Exception as error:
        said = own_code.failure(error)
        if said is None and isinstance(error, OSError):  # not handled elsewhere: the path and the system's reason
            where = f"{error.filename}: " if error.filename else ""
            said = f"{where}{error.strerror or error}."
        if said is None:  # a fault of mechicl: its whole way is of use
            raise
        print(f"mechicl: {said}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stopped:
        again = " ".join(getattr(stopped, "__notes__", ())[:1])  # of what began a run
        if not again and given[0] in GOES_ON:
            again = "The same command continues."
        print(f"\nmechicl: stopped. All saved files are complete. {again}".rstrip(), file=sys.stderr)
        raise SystemExit(130) from None
