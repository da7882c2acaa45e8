"""One HTML file from its parts: scripts and styles are put into it, and a policy lets it load nothing else.

The scripts are ES modules (`assets/`). A page from a disk can import no module from a file beside it, so they are
joined to one script here: each import is what an earlier module exported, under the same name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

ASSETS = files("mechicl.export") / "assets"
WORKER = ("numbers", "arena", "answers", "model", "engine", "worker")  # the model, off the page's own thread
PAGE = (
    "numbers",
    "data",
    "state",
    "pool",
    "dom",
    "effects",
    "curves",
    "heads",
    "controls",
    "pattern",
    "attention",
    "logits",
    "main",
)
STYLES = (("mechicl.page", "app.css"), ("mechicl.page", "narrow.css"), ("mechicl.export", "export.css"))
_IMPORT = re.compile(r'^import \{(?P<names>[^}]*)\} from "\./(?P<of>\w+)\.js";\n', flags=re.M)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let) (?P<name>[\w$]+))", flags=re.M)


def joined(modules: tuple[str, ...]) -> str:
    """ES modules as one script, in this order.

    Raises:
        ValueError: one imports what no module before it exports, or two have a name of their own in common.
    """
    exported: set[str] = set()
    parts = []
    for module in modules:
        text = (ASSETS / f"{module}.js").read_text(encoding="utf-8")
        for found in _IMPORT.finditer(text):
            missing = {name.strip() for name in found["names"].split(",") if name.strip()} - exported
            if missing:
                raise ValueError(f"{module}.js imports {', '.join(sorted(missing))}, which no module before it exports")
        names = {found["name"] for found in _EXPORT.finditer(text)}
        if twice := names & exported:
            raise ValueError(f"{module}.js exports {', '.join(sorted(twice))} once more")
        exported |= names
        # A function of its own, so that what a module does not export stays its own.
        body = _EXPORT.sub("", _IMPORT.sub("", text))
        given = f"const {{ {', '.join(sorted(names))} }} = " if names else ""
        back = f"return {{ {', '.join(sorted(names))} }};\n" if names else ""
        parts.append(f"{given}(() => {{\n{body}{back}}})();\n")
    return '"use strict";\n' + "".join(parts)


def styles() -> str:
    """The page's own styles, as `mechicl app` has them, then those of the file."""
    return "\n".join((files(package) / "assets" / name).read_text(encoding="utf-8") for package, name in STYLES)


def policy(script: str, style: str) -> str:
    """The content security policy: nothing is loaded from anywhere, and only what stands in the file runs.

    The script and the style by their hashes. 'wasm-unsafe-eval' lets the file's own WebAssembly run: without it a page
    may not compile any. The worker is a blob, because a page from a disk has no address to load one from. Pictures of
    sequences are data.
    """
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)} 'wasm-unsafe-eval'",
            "worker-src blob:",
            f"style-src {_hash(style)}",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def render(name: str, data: dict[str, Any], checkpoints: dict[int, bytes]) -> str:
    """The page.

    Args:
        name: of the run.
        data: everything but the weights, as plain data.
        checkpoints: step -> parameters.
    """
    script, worker, style = joined(PAGE), joined(WORKER), styles()
    loader = PackageLoader("mechicl.export", "assets")
    template = Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template("page.html.j2")
    return template.render(
        name=name,
        policy=policy(script, style),
        style=Markup(style),
        script=Markup(script),
        worker=Markup(worker),
        data=Markup(json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")),
        checkpoints={step: Markup(base64.b64encode(numbers).decode()) for step, numbers in checkpoints.items()},
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
