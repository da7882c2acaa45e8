"""Language-model token embeddings as a bank: a class is a cluster of neighbouring tokens.

Singh et al. 2023 (section 4.3: docs/references.md#singh-2023-tokens) clustered the input embeddings of LLaMA models.
Those weights are not to be had freely; the PyPI package `wordllama` (MIT) ships a table of 32,000
tokens x 256 numbers that was distilled from LLaMA-2 input embeddings ('l2_supercat_256'), which is what
this reads: the same tokens and the same geometry up to that distillation, not the same numbers.

k-means (scikit-learn) gives the clusters' centres. Then a class is the `n_exemplars` tokens
nearest to its centre, a token going to the centre that it is nearest to, so that all classes
have as many. Classes are shuffled by the data seed; the last ones are held out.

    pip install --editable '.[tokens]'
    mechicl train llama-tokens

Legend: v tokens, d features, k clusters, e exemplars.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np

from mechicl.config import BankConfig
from mechicl.errors import ConfigError
from mechicl.models import dtypes
from mechicl.system.commands import install
from mechicl.system.compiling import compiled
from mechicl.system.paths import given
from mechicl.tasks.exemplar_label.banks.bank import Bank, assign_labels

_WEIGHTS, _TOKENIZER = "weights/l2_supercat_256.safetensors", "tokenizers/l2_supercat_tokenizer_config.json"
_SPARE = 1.35  # clusters asked for per class wanted: the loosest, and those that stay short, are dropped
_INSTALL = install("tokens")


def token_bank(config: BankConfig, seed: int, data: str | Path | None = None) -> Bank:
    """The bank of token clusters, [class, exemplar, d], of mean square norm 1.

    Args:
        seed: decides k-means' start and which clusters are trained on.
        data: a .safetensors file whose one tensor is a table [v, d]; None: the one in `wordllama`.

    Raises:
        ConfigError: no table, no scikit-learn, or fewer clusters than classes.
    """
    table, names = read_table(data)
    if config.dim > table.shape[1]:
        raise ConfigError(
            f"bank.dim={config.dim}: the embeddings of this table have {table.shape[1]} numbers: set bank.dim to that."
        )
    x = _features(table, config.dim)
    members = clusters(
        x, config.n_classes + config.n_holdout_classes, config.n_exemplars + config.n_holdout_exemplars, seed
    )
    rng = np.random.default_rng([seed, 0])  # stream 0 of the data seed is the bank's
    members = members[rng.permutation(len(members))]
    shuffled = rng.permuted(members, axis=1)  # which tokens are held out is not a matter of nearness
    exemplars = np.round(x[shuffled], 4).astype(np.float32)
    label_of_class = assign_labels(config, len(members), seed)
    called = tuple(names[row[0]] for row in members)  # by the token nearest to the centre
    return Bank(exemplars, label_of_class, config.n_classes, config.n_exemplars, called)


def read_table(data: str | Path | None) -> tuple[np.ndarray, list[str]]:
    """Embeddings [v, d] and what each token is called."""
    from safetensors import SafetensorError

    folder = None if data is not None else _installed()
    path = given(data) if folder is None else folder / _WEIGHTS  # pyright: ignore[reportArgumentType]
    try:
        tensors = dtypes.load(path.read_bytes(), dtypes.NUMBERS)
    except (OSError, SafetensorError, dtypes.ForeignDtype) as error:
        raise ConfigError(
            f"{path} cannot be read ({error}): expected a .safetensors file with a table of token "
            f"embeddings, or none, to use the one in wordllama ({_INSTALL})."
        ) from None
    tables = [x for x in tensors.values() if x.ndim == 2]
    if len(tables) != 1:
        raise ConfigError(
            f"{path} holds {len(tables)} tables, of {', '.join(tensors) or 'nothing'}: expected one "
            "tensor [tokens, features]."
        )
    table = tables[0].double().numpy()
    if not np.isfinite(table).all():
        raise ConfigError(
            f"{path}: {int((~np.isfinite(table)).any(1).sum())} of {len(table)} tokens have numbers that "
            "are not finite: remove them."
        )
    names = [f"token {i}" for i in range(len(table))]
    if folder is not None:
        vocabulary = json.loads((folder / _TOKENIZER).read_text(encoding="utf-8"))["model"]["vocab"]
        for text, i in vocabulary.items():
            if i < len(names):
                names[i] = text.replace("▁", " ").strip() or text
    return table, names


def _installed() -> Path:
    found = importlib.util.find_spec("wordllama")  # imports nothing: the package itself is not needed
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f"bank.kind='tokens' needs token embeddings: {_INSTALL}, or give --data FILE.safetensors.")
    return Path(found.submodule_search_locations[0])


def _features(table: np.ndarray, dim: int) -> np.ndarray:
    """Centred, along the `dim` principal axes (all of them: a rotation), mean square norm 1."""
    from mechicl.tasks.exemplar_label.banks.omniglot import fit_pca

    x = table - table.mean(0)
    x = x @ fit_pca(x, dim)
    return x / np.sqrt(np.square(x).sum(-1).mean())


def clusters(x: np.ndarray, wanted: int, size: int, seed: int) -> np.ndarray:
    """Disjoint groups of neighbours: token numbers [wanted, size], each row from the nearest to
    its centre outwards; the `wanted` tightest of more that were made.

    Raises:
        ConfigError: there are not as many of that size.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ImportError:
        raise ConfigError(f"clustering tokens needs scikit-learn: {_INSTALL}.") from None
    k = min(int(np.ceil(_SPARE * wanted)), len(x) // size)
    if k < wanted:
        raise ConfigError(
            f"{wanted} classes of {size} tokens were asked for, but the table has {len(x)} tokens: "
            "lower bank.n_classes, n_holdout_classes or the exemplars."
        )
    unit = x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12)
    means = MiniBatchKMeans(k, random_state=seed, init="random", batch_size=4096, max_iter=10).fit(
        unit.astype(np.float32)
    )
    groups = _fill(unit, np.asarray(means.cluster_centers_), size)
    if len(groups) < wanted:
        raise ConfigError(
            f"only {len(groups)} clusters have {size} tokens, but {wanted} are needed: "
            "lower bank.n_classes, n_holdout_classes or the exemplars."
        )
    spread = np.square(unit[groups] - unit[groups].mean(1, keepdims=True)).sum(-1).mean(-1)
    return groups[np.argsort(spread, kind="stable")[:wanted]]


def _fill(x: np.ndarray, centres: np.ndarray, size: int) -> np.ndarray:
    """Give tokens to centres, nearest pairs first, until each centre has `size`; the full ones."""
    reach = min(len(x), 200 * size)  # a centre whose nearest 200 * size tokens are taken is left short
    distance = np.square(centres).sum(-1)[:, None] - 2 * centres @ x.T + np.square(x).sum(-1)
    near = np.argpartition(distance, reach - 1, axis=1)[:, :reach]
    pairs = np.take_along_axis(distance, near, axis=1).ravel()
    held = np.full((len(centres), size), -1)
    _give(np.argsort(pairs, kind="stable"), near, held, np.zeros(len(x), np.bool_))
    return held[(held >= 0).all(1)]


@compiled()
def _give(order: np.ndarray, near: np.ndarray, held: np.ndarray, taken: np.ndarray) -> None:
    """Fill held [k, size] with the tokens of near [k, reach], pair after pair in this order."""
    count = np.zeros(len(held), np.int64)
    for pair in order:
        centre = pair // near.shape[1]
        token = near[centre, pair % near.shape[1]]
        if not taken[token] and count[centre] < held.shape[1]:
            held[centre, count[centre]] = token
            count[centre] += 1
            taken[token] = True
