"""A source as a series: a run's directory with config, manifest, index and curves, over checkpoints of anybody's.

What is in the directory counts as in any run: a checkpoint once its line is in the index, its scores once theirs is in
metrics.jsonl. So opening goes on where it was interrupted, and takes up checkpoints that were written since.

manifest.json has, under `source`:

    kind, place, layout, settings, files, pickles, more    as in `base.Found`; files by step
    cache     bytes that fetched files may take on this machine, where it was said
    copied    whether the weights were converted and lie in weights/; else files stay where they are
    assumed   where nobody said how many sequences a step has: how many are assumed, and why that may be wrong
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mechicl.config import Config, ModelConfig, ScheduleConfig, to_dict
from mechicl.errors import ConfigError, SeriesError
from mechicl.series import Series, open_series, settings_file
from mechicl.series.recorded import signed
from mechicl.series.storage import Entry, Writer, locked
from mechicl.sources import published
from mechicl.sources.base import Asked, Found, Settings, Source, one_of_several, source_of
from mechicl.sources.bigrams import known_bigrams
from mechicl.sources.foreign import check_foreign
from mechicl.sources.layouts import LAYOUTS, bare, model_of
from mechicl.sources.record import assumed, check_settings, continued, only, record_of
from mechicl.system.disk import check_writable, explained, is_file
from mechicl.system.files import append_line, read_json, write_json
from mechicl.system.paths import given, shown
from mechicl.system.progress import bar
from mechicl.system.surroundings import own_settings, reading
from mechicl.tasks.text import Text, corpus, token_files
from mechicl.tasks.text.conflicting import SHORTEST
from mechicl.training.open_run import manifest_of

if TYPE_CHECKING:
    from torch import Tensor

    from mechicl.models.params import Params

LENGTH, SEQUENCES = 64, 128  # positions of a sequence, and sequences per evaluator, unless told otherwise
CLOSE = 1e-4  # logits of both libraries' models differ by at most so much, in float32, relative to their spread


@own_settings()
def open_source(
    place: str | Path,
    out: str | Path | None = None,
    *,
    kind: str | None = None,
    asked: Asked | None = None,
    settings: Settings | None = None,
    progress: bool = True,
) -> Series:
    """The series over a source's checkpoints: made, gone on with, or used as it is: then settings that are given must
    be those that it was made with. One that `mechicl publish` put on the hub is fetched whole, and checked.

    Args:
        place: the source, as `mechicl open` takes it.
        out: the run's directory (default: checkpoints/NAME, of the source's name).
        kind: which source it is (default: the first that knows such a place).
        asked: how its files are called, and what else `base.Asked` says.
        settings: how it is opened.
        progress: a bar.

    Raises:
        ConfigError: it is no source, or of no model that can be opened; or the series is there, with other settings
            than are given.
        SeriesError: a file is torn; the directory holds another run, or cannot be written to.
    """
    text, settings, asked = str(place), settings or Settings(), asked or Asked()
    if published.is_published(text):
        if (asked, settings) != (Asked(), Settings()):
            raise ConfigError(
                f"{text} is a published run and is opened without changes: it takes no option except --out."
            )
        return published.fetch(text, given(default_place(text) if out is None else out), progress)
    check_foreign(given(text))
    source = source_of(text, kind)
    found = only(source.find(text, asked), asked)
    root = given(default_place(found.place) if out is None else out)
    model = model_of(LAYOUTS.find(found.layout).fields(found.settings))
    opening = _Opening(root, source, found, settings, model)
    check_writable(root, "Open it elsewhere with --out DIR.")
    with explained(root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        opening.begin()
        series = open_series(root)
        opening.check_model(series)
        opening.read(series, progress)
    return open_series(root)


@dataclass(frozen=True)
class _Opening:
    root: Path
    source: Source
    found: Found
    settings: Settings
    model: ModelConfig

    def begin(self) -> None:
        """Write config and manifest, or see that those that are there are of this source."""
        there = is_file(self.root / "manifest.json")
        record = record_of(self.source.kind, self.found, self.settings.copy) | assumed(self.found, self.settings)
        before = read_json(self.root / "manifest.json") if there else {}
        if there:
            held = open_series(self.root)
            read = {*held.steps, *(line["step"] for line in held.recorded())}
            record = continued(self.root, before, record, read)
            if self.settings.batch_size is not None:  # said now; `check_settings` sees that it is the one assumed
                record.pop("assumed", None)
        corpus_ids = self._corpus()
        steps = sorted(map(int, record["files"]))
        with one_of_several(steps[-1], steps):
            bigrams = None if there else self._bigrams(corpus_ids, record, steps[-1])
        config = self._config(steps, corpus_ids, bigrams)
        if there:
            old = open_series(self.root).config
            check_settings(self.root, old, record, self.settings, config)
            config = replace(old, steps=config.steps, checkpoint_steps=config.checkpoint_steps)
        else:
            names = None if self.found.tokenizer is None else self.found.tokenizer.read_bytes()
            corpus.keep(self.root, corpus_ids, names)
        plan = corpus.Corpus(corpus_ids, self.root)
        uses = [("source", self.source.kind)]
        manifest = before if there else manifest_of(config, steps, plan, None, [], uses=uses)
        write_json(self.root / "config.json", to_dict(config))
        written = {"schedule": steps, "source": record, **settings_file.record(config)}
        write_json(self.root / "manifest.json", manifest | written)

    def _corpus(self) -> np.ndarray | None:
        if self.settings.tokens is None:
            return None
        return token_files.read(given(self.settings.tokens), self.found.tokenizer, self.model.hooked["d_vocab"])

    def _bigrams(self, ids: np.ndarray | None, record: Mapping[str, Any], last: int) -> str | None:
        """Whose bigrams the series is asked about (`Text.bigrams`); fixed when it is made."""
        if self._length() < SHORTEST:
            return None
        vocabulary = self.model.hooked["d_vocab"]
        return known_bigrams(
            self.root, ids, vocabulary, self.model, lambda: _weights(record, last, self.source.fetch(record, last))
        )

    def _length(self) -> int:
        longest = self.model.hooked["n_ctx"] // 2 * 2
        length = min(LENGTH, longest) if self.settings.length is None else self.settings.length
        if length > longest:
            raise ConfigError(f"--length {length}: the model reads at most {longest} positions.")
        return length

    def _labelled(self) -> bool:
        if self.settings.few_shot and self.found.tokenizer is None:
            raise ConfigError("--few-shot needs tokenizer.json in the model's folder: put it there.")
        return self.settings.few_shot

    def _config(self, steps: Sequence[int], ids: np.ndarray | None, bigrams: str | None) -> Config:
        print_of = None if ids is None else corpus.Corpus(ids, None).fingerprint
        given = self.settings.batch_size
        size = (self.found.batch_size or 1) if given is None else given
        return Config(
            name=_name(self.root.name),
            steps=max(1, *steps),
            batch_size=size,
            model=self.model,
            n_eval=SEQUENCES if self.settings.n is None else self.settings.n,
            task=Text(
                vocabulary=self.model.hooked["d_vocab"],
                length=self._length(),
                corpus=print_of,
                bigrams=bigrams,
                few_shot=self._labelled(),
            ),
            checkpoint_steps=ScheduleConfig(steps=tuple(steps)),
        )

    def check_model(self, series: Series) -> None:
        """See that the first and the last checkpoint answer as the original library's model does, once.

        Raises:
            SeriesError: they do not.
        """
        record, layout = series.manifest["source"], LAYOUTS.find(self.found.layout)
        if "checked" in record:
            return
        steps, checked = sorted(map(int, record["files"])), {}
        batch = series.evaluation_set("repeat", n=2)
        for step in dict.fromkeys((steps[-1], steps[0])):  # the first is read next: a small cache still has it
            paths = self.source.fetch(record, step)
            with one_of_several(step, steps):
                tensors = bare(self.source.tensors_at(step, paths, self.found.pickles), paths[0])
            with reading():
                want = layout.answers(tensors, self.found.settings, batch.ids)
            if want is None:
                return
            off = _difference(_weights(record, step, paths), self.model, batch, want)
            if not off <= CLOSE:
                raise SeriesError(
                    f"{paths[0]}: as a HookedTransformer this model's logits differ from the original's by {off:.2g}, "
                    f"more than {CLOSE:g}: mechicl cannot open this architecture "
                    f"({self.found.settings.get('model_type')}, with these "
                    "settings), because its numbers would be those of a different model."
                )
            checked[str(step)] = off
        manifest = series.manifest | {"source": record | {"checked": checked}}
        write_json(self.root / "manifest.json", manifest)

    def read(self, series: Series, progress: bool) -> None:
        """Index and evaluate what is not yet."""
        from mechicl.evaluators import evaluate_params, evaluation_sets
        from mechicl.models.params import check_weights, pack
        from mechicl.series.finite import check_stored
        from mechicl.sources.reading import digest
        from mechicl.system.work_queue import threads

        record, config = series.manifest["source"], series.config
        scored = {line["step"] for line in series.recorded()}
        left = [step for step in series.manifest["schedule"] if step not in scored or step not in series.steps]
        if not left:
            return
        sets, writer = evaluation_sets(config, series.source), Writer(self.root)
        with bar(len(left), f"open {series.name}", show=progress, unit=" checkpoints") as shown_bar, threads(1):
            for step in left:
                paths, sequences = self.source.fetch(record, step), step * config.batch_size
                with one_of_several(step, series.manifest["schedule"]):
                    size, sha256 = digest(paths)
                    weights = _weights(record, step, paths)
                    check_weights(weights, config, f"{shown(paths[0])}")
                    check_stored(self.root, {name: w[None] for name, w in weights.items()}, [step])
                if record["copied"]:
                    writer.save("weights", step, sequences, weights)
                elif not writer.has("weights", step):
                    entry = Entry("weights", step, sequences, record["files"][str(step)][0], size, sha256)
                    append_line(self.root / "index.jsonl", asdict(entry))
                if step not in scored:
                    rows = evaluate_params(pack(weights), sets, config)
                    told = {"step": step, "sequences": sequences, "training_loss": self.found.losses.get(step)}
                    told |= {"evaluators": rows, "weights_sha256": contents(weights)}
                    append_line(self.root / "metrics.jsonl", signed(told))
                    loss = next(r["value"] for r in rows if r["metric"] == "loss")
                    shown_bar.set_postfix_str(f"loss {loss:.3f}")
                shown_bar.update(1)


def default_place(place: str) -> Path:
    """The directory of a source's series, unless it is said: checkpoints/NAME, without the pattern of revisions."""
    return Path("checkpoints") / _name(Path(place).name.partition("@")[0])


def _weights(record: Mapping[str, Any], step: int, paths: Sequence[Path]) -> Params:
    from mechicl.sources.reading import converted

    return converted(record, step, paths)


@reading()
def _difference(weights: Params, model: ModelConfig, batch: Any, want: Tensor) -> float:
    """How far logits are from those that are wanted, at most, relative to their spread where that is above 1."""
    from mechicl.engine.forward import forward, logits
    from mechicl.models.params import pack

    params = pack(weights)
    got = logits(params, forward(params, batch, model).final)
    return float((got - want).abs().max() / max(1.0, float(want.std())))


def contents(weights: Params) -> str:
    """sha256 of the numbers of a checkpoint, whatever files and names they had."""
    found = hashlib.sha256()
    for name in sorted(weights):
        found.update(name.encode() + weights[name].contiguous().numpy().tobytes())
    return found.hexdigest()


def _name(text: str) -> str:
    """A run's name from a folder's."""
    return re.sub(r"[^\w.-]+", "-", text).strip("-.") or "series"
