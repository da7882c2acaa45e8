"""mechicl.sources.trainer: which folders are checkpoints, and which of them must be whole."""

import json

import pytest

from mechicl.errors import ConfigError
from mechicl.sources.base import Asked
from mechicl.sources.trainer import Trainer


def folder_of(root, name, weights=True, **config):
    """A folder as the Trainer writes it, without numbers."""
    (root / name).mkdir(parents=True)
    (root / name / "config.json").write_text(json.dumps({"model_type": "gpt2", "n_embd": 8} | config))
    if weights:
        (root / name / "model.safetensors").write_bytes(b"")


def test_a_checkpoint_that_is_not_asked_for_may_be_unfinished(tmp_path):
    for step in (100, 200):
        folder_of(tmp_path, f"checkpoint-{step}")
    folder_of(tmp_path, "checkpoint-300", weights=False, n_embd=16)
    with pytest.raises(
        ConfigError, match=r"checkpoint-300 has no weights: .* still being saved.* leave step 300 out with"
    ):
        Trainer().find(str(tmp_path), Asked())
    assert list(Trainer().find(str(tmp_path), Asked(steps=(100, 200))).files) == [100, 200]
    assert list(Trainer().find(str(tmp_path), Asked(steps=range(250))).files) == [100, 200]


def test_a_step_that_is_not_asked_for_may_be_there_twice(tmp_path):
    for name in ("checkpoint-100", "checkpoint-200", "checkpoint-0200"):
        folder_of(tmp_path, name)
    with pytest.raises(ConfigError, match=r"both have step 200.* leave step 200 out with --steps"):
        Trainer().find(str(tmp_path), Asked())
    assert list(Trainer().find(str(tmp_path), Asked(steps=(100,))).files) == [100]
    with pytest.raises(ConfigError, match="no step 300; the nearest"):
        Trainer().find(str(tmp_path), Asked(steps=(100, 300)))


def test_other_folders_with_a_number_are_no_steps_beside_the_trainer_s(tmp_path):
    for name in ("checkpoint-100", "checkpoint-200", "best-v2"):
        folder_of(tmp_path, name)
    assert Trainer().find(str(tmp_path), Asked()).files == {
        step: (f"checkpoint-{step}/model.safetensors",) for step in (100, 200)
    }
    for step in (100, 200):
        (tmp_path / f"checkpoint-{step}").rename(tmp_path / f"saved-{step}")
    assert list(Trainer().find(str(tmp_path), Asked()).files) == [2, 100, 200]


def test_all_that_differs_is_said_token_ids_last(tmp_path):
    folder_of(tmp_path, "checkpoint-100", n_head=2, bos_token_id=0)
    folder_of(tmp_path, "checkpoint-200", n_head=4, n_embd=16, bos_token_id=50256, dtype="float16")
    said = (
        r"checkpoint-200/config.json is of another model than .*checkpoint-100/config.json: n_embd=16 \(there 8\), "
        r"n_head=4 \(there 2\), bos_token_id=50256 \(there 0\)\. All"
    )
    with pytest.raises(ConfigError, match=said):
        Trainer().find(str(tmp_path), Asked())
    more = {f"x{i}": i for i in range(9)}
    folder_of(tmp_path, "checkpoint-300", n_head=2, bos_token_id=0, **more)
    with pytest.raises(ConfigError, match=r"x5=5 .there None. and 3 more"):
        Trainer().find(str(tmp_path), Asked(steps=(100, 300)))
