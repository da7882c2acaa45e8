"""Commands that make what a run is trained on: features of pictures, and tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from mechicl.cli.arguments import File, N, Name, Pixels
from mechicl.cli.verbs import Group, app
from mechicl.errors import ConfigError


@app.command(Group.DATA)
def features(
    source: Annotated[
        Positional[Path], arg(metavar="SOURCE", help="a folder with a folder of pictures per class, or Omniglot's")
    ],
    *,
    out: File,
    encoder: Name = "efficientnet-lite0",
    transforms: N = 1,
    exemplars: N | None = None,
    size: Pixels | None = None,
    dim: N | None = None,
    weights: File | None = None,
    pictures: Pixels = 28,
    jobs: N = 1,
    quiet: bool = False,
) -> None:
    """Compute features of pictures and write them as a bank.

    A bank is one file, for `mechicl train RECIPE --data FILE`.

    $ mechicl features ~/omniglot --transforms 8 --out omniglot.safetensors
    $ mechicl features ~/pictures --encoder pixels --size 28 --out pixels.safetensors
    $ mechicl features ~/pictures --encoder my_encoders:my_function --size 64 --out mine.safetensors

    Your own encoder is a function. It gets a numpy array of float32 in 0..1, [picture, 3, SIZE, SIZE] (224 by default),
    and returns the features as an array [picture, feature]. Of every class as many pictures are used as the smallest
    class has.

    After an interruption, run the same command again: it continues. The file contains raw features in half precision,
    their sha256, and how they were made. The settings `bank.centre` and `bank.scale` of a run centre and scale them.

    Args:
        out: the file to write, .safetensors.
        encoder: efficientnet-lite0, resnet18, pixels, pca, or your own function as module:function.
        transforms: 1, 2, 4 or 8 flips and rotations of every picture; each one is its own class (published for
            Omniglot: 8).
        exemplars: pictures per class, the first ones by file name (default: the size of the smallest class).
        size: side of the encoder's input in pixels (default: the encoder's own).
        dim: for pca: the number of components (default 64).
        weights: for resnet18: the file with its ImageNet weights.
        pictures: side in pixels of the small pictures that the page shows; 0 keeps no pictures.
        jobs: number of threads.
        quiet: no progress bar.
    """
    from mechicl.tasks.exemplar_label.features.encoders import Options
    from mechicl.tasks.exemplar_label.features.extract import extract
    from mechicl.tasks.exemplar_label.features.images import find_pictures, unused

    options = Options(size=size, dim=dim, weights=weights, threads=jobs)
    made = extract(
        source,
        out,
        encoder=encoder,
        transforms=transforms,
        n_exemplars=exemplars,
        pictures=pictures,
        options=options,
        progress=not quiet,
    )
    classes, each, numbers = made.exemplars.shape
    if said := unused(source, find_pictures(source, exemplars)):
        print(f"note: {said}")
    print(f"{out}: {classes:,} classes x {each} exemplars x {numbers:,} features ({out.stat().st_size / 1e6:,.0f} MB).")


@app.command(Group.DATA)
def tokenizer(
    files: Annotated[
        Positional[tuple[Path, ...]],
        arg(metavar="FILES...", help="texts in UTF-8, or folders of them", help_behavior_hint=""),
    ],
    *,
    vocabulary: N,
    out: File,
    pattern: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="PATTERN")] = (),
    quiet: bool = False,
) -> None:
    """Train a byte-level BPE tokenizer on texts.

    The same texts always give the same file.

    $ mechicl tokenizer ~/novels --vocabulary 2048 --out ~/novels/tokenizer.json
    $ mechicl tokenizer ~/code --pattern '*.py' --pattern '*.md' --vocabulary 4096 --out tokenizer.json

    `mechicl train text-small --data FOLDER` uses the tokenizer.json in FOLDER. If there is none, it trains one. Hidden
    files, empty files, very large files, duplicates and files that are not UTF-8 text are skipped.

    Args:
        vocabulary: the number of tokens, including the 256 bytes.
        out: the file to write, such as tokenizer.json.
        pattern: which files of a folder to read, such as '*.md' (default: all); may be given several times.
        quiet: no progress bar.
    """
    from mechicl.system.disk import check_writable
    from mechicl.system.files import write_atomic
    from mechicl.system.paths import given, shown
    from mechicl.tasks.text import documents, tokenizing

    if not files:
        raise ConfigError("no texts were given: use `mechicl tokenizer FOLDER --vocabulary 1024 --out tokenizer.json`.")
    place = given(out)
    if place.suffix != ".json":
        raise ConfigError(f"--out {out}: expected a file name that ends in .json, such as tokenizer.json.")
    check_writable(place.parent)
    read = documents.read(files, pattern or ("*",), without=[place])
    made = tokenizing.trained([each.text for each in read.found], vocabulary, progress=not quiet)
    write_atomic(place, made.to_str(pretty=True).encode())
    left = f" (skipped: {documents.counted(read.left_out)})" if read.left_out else ""
    print(
        f"{shown(place)}: {vocabulary:,} tokens, from {len(read.found):,} documents of {read.bytes / 1e6:.1f} MB{left}."
    )
