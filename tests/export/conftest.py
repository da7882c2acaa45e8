"""What the tests of exported pages share: series of every kind of model, and a browser that opens files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import known_token_models
import pytest
from browser import numbers
from known_series import write_series
from model_kinds import make
from random_models import weights_of

from mechicl.config import Config, ModelConfig, ScheduleConfig, to_dict
from mechicl.evaluators import evaluate_params, evaluation_sets
from mechicl.export import export
from mechicl.models.params import pack
from mechicl.series import Series, open_series
from mechicl.series.storage import Writer
from mechicl.system.files import append_line, write_json
from mechicl.tasks.markov import Markov
from mechicl.tasks.text.corpus import keep
from mechicl.training.loop import saved_weights
from mechicl.training.open_run import manifest_of


@pytest.fixture(scope="session")
def series_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Series]:
    """kind (model_kinds.py) -> a series of two checkpoints of random weights, in which every head matters."""
    made: dict[str, Series] = {}

    def series(kind: str, **model: Any) -> Series:
        import torch

        key = f"{kind} {model}"
        if key not in made:
            config = replace(make(kind), n_eval=60, weights_dtype="float16")
            config = replace(config, model=replace(config.model, **model))
            weights = {step: weights_of(config, torch.float32, step) for step in (0, config.steps)}
            made[key] = write_series(tmp_path_factory.mktemp("series") / kind, config, weights)
        return made[key]

    return series


TOKENS = {  # language models and models of Markov chains, whose answers are read at every position
    "text": lambda source: replace(
        known_token_models.token_config(source), model=ModelConfig(d_model=16, n_heads=2, positions="rotary")
    ),
    "text with MLPs": lambda source: replace(
        known_token_models.token_config(source),
        model=ModelConfig(n_layers=3, d_model=16, n_heads=2, mlp_ratio=2, mlp_layers=(0, 2)),
    ),
    "markov": lambda _: Config(
        name="chains",
        steps=20,
        task=Markov(n_states=5, n_chains=6, length=32),
        model=ModelConfig(n_layers=2, d_model=16, n_heads=2, mlp_ratio=2),
        n_eval=150,  # more than a pass takes
    ),
}


@pytest.fixture(scope="session")
def tokens_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Series]:
    """A name of TOKENS -> a series of two checkpoints of random weights."""
    made: dict[str, Series] = {}

    def series(name: str) -> Series:
        import torch

        if name not in made:
            tokens = known_token_models.text()
            config = replace(TOKENS[name](tokens), weights_dtype="float16", checkpoint_steps=ScheduleConfig())
            source = config.task.source(config) if name == "markov" and config.task else tokens
            root = tmp_path_factory.mktemp("tokens") / "run"
            root.mkdir()
            if name != "markov":
                keep(root, source.ids, None)
            write_json(root / "config.json", to_dict(config))
            steps = [0, config.steps]
            write_json(root / "manifest.json", manifest_of(config, steps, source, None, []))
            sets, writer = evaluation_sets(config, source), Writer(root)
            for step in steps:
                params, seen = pack(weights_of(config, torch.float32, step)), step * config.batch_size
                writer.save("weights", step, seen, saved_weights(params, config))
                rows = evaluate_params(params, sets, config)
                line = {"step": step, "sequences": seen, "training_loss": 1.0 if step else None, "evaluators": rows}
                append_line(root / "metrics.jsonl", line)
            made[name] = open_series(root)
        return made[name]

    return series


@pytest.fixture(scope="session")
def file_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A series -> its exported page."""
    made: dict[Path, Path] = {}

    def file(series: Series) -> Path:
        if series.root not in made:
            made[series.root] = export(series, tmp_path_factory.mktemp("pages") / "page.html", progress=False)
        return made[series.root]

    return file


class Reader:
    """Somebody who opens an exported page from a disk: a page that records what it asks for and what goes wrong."""

    def __init__(self, page: Any, path: Path):
        self.page, self.address = page, path.as_uri()
        self.asked: list[str] = []
        self.wrong: list[str] = []
        page.set_default_timeout(90_000)  # a busy machine is no failure
        page.on("request", lambda r: self.asked.append(r.url))
        page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.wrong.append(str(e)))

    def open(self, view: str = "") -> None:
        """A view, as the address has it after '#'."""
        self.page.goto(f"{self.address}#{view}")
        self.page.wait_for_selector("#effect[data-shown]")
        self.settled()

    def go(self, view: str, panel: str = "effect") -> None:
        """Another view, by its address."""
        self.page.evaluate("view => { location.hash = view; }", view)
        self.settled(panel)

    def settled(self, panel: str = "effect") -> None:
        """Wait until the numbers of a panel are the view's."""
        self.page.wait_for_function(
            "panel => (document.getElementById(panel).dataset.shown ?? '') === (location.hash.slice(1) || 'start')",
            arg=panel,
        )

    def numbers(self) -> dict[str, dict[str, str]]:
        """evaluator -> what its row says."""
        return numbers(self.page)


@pytest.fixture
def reader(chromium):
    """Call it with a page's path. In the end it must have asked for nothing but itself, and nothing went wrong."""
    opened: list[Reader] = []
    contexts = []

    def call(path: Path, **options: Any) -> Reader:
        contexts.append(chromium.new_context(**({"viewport": {"width": 1280, "height": 900}} | options)))
        opened.append(Reader(contexts[-1].new_page(), path))
        return opened[-1]

    yield call
    for context in contexts:
        context.close()
    for one in opened:
        assert [url for url in one.asked if url.split("#")[0] != one.address and not url.startswith("blob:")] == []
        assert one.wrong == []
