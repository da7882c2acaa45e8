"""Revisions of a hub, through the hub's own client and a server on loopback (hub_server.py)."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from huggingface_hub import constants
from tiny_pythia import NAME, revision

from mechicl import cli
from mechicl.errors import ConfigError, SeriesError
from mechicl.series import open_series
from mechicl.series.elsewhere import is_light
from mechicl.series.verify import verify
from mechicl.sources import hub_api, hub_cache, odd
from mechicl.sources.base import Asked
from mechicl.sources.opening import Settings, open_source

STEPS = (0, 1, 512, 1000)
PLACE = f"hub:{NAME}@step*"
SETTINGS = Settings(length=16, n=8)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """step -> files, once: the models take a second."""
    folder = tmp_path_factory.mktemp("pythia")
    return {step: revision(step, folder / f"step{step}") for step in STEPS}


@pytest.fixture
def pythia(hub, made):
    """A repository with a branch for each step; what is on main is no step's."""
    for step, files in made.items():
        hub.repo(NAME).commit(f"step{step}", files)
    hub.repo(NAME).commit("main", made[1000])
    return hub


def sha256(hub, step):
    repo = hub.repo(NAME)
    return repo.commits[repo.refs[f"step{step}"]]["model.safetensors"].sha256


def opened(root, place=PLACE, settings=SETTINGS, **asked):
    return open_source(place, root, asked=Asked(**asked), settings=settings, progress=False)


def test_all_steps_open_with_their_sha256(pythia, made, tmp_path):
    series = opened(tmp_path / "run")
    assert series.steps == list(STEPS)
    assert is_light(series)
    assert {e.step: e.sha256 for e in series.entries} == {step: sha256(pythia, step) for step in STEPS}
    assert {e.file for e in series.entries} == {f"step{step}/model.safetensors" for step in STEPS}
    assert sorted(pythia.downloads()) == sorted(sha256(pythia, step) for step in STEPS)  # each once, one at a time
    assert verify(series.root) == []
    assert len(odd.fixed_losses(series)) == len(STEPS)
    assert odd.remarks(series) == []
    again = open_series(series.root)
    from transformers import GPTNeoXForCausalLM

    folder = tmp_path / "model"
    folder.mkdir()
    for name, data in made[512].items():
        (folder / name).write_bytes(data)
    model = GPTNeoXForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        batch = again.evaluation_set("repeat", n=1)
        torch.testing.assert_close(again.model(512)(batch), model(batch.ids).logits, rtol=1e-4, atol=1e-4)


def test_some_steps_by_list_distance_and_pattern(pythia, tmp_path):
    assert opened(tmp_path / "a", steps=(1, 1000)).steps == [1, 1000]
    assert opened(tmp_path / "a", steps=(0,)).steps == [0, 1, 1000]  # added to those that are there
    assert opened(tmp_path / "b", every=500).steps == [0, 512, 1000]  # at most one in 500, and both ends
    assert opened(tmp_path / "c", f"hub:{NAME}@step0,step512").steps == [0, 512]
    assert set(pythia.downloads()) == {sha256(pythia, step) for step in STEPS}
    for asked, said in (({"steps": (7,)}, "no step 7"), ({"every": 0}, "--every 0"), ({"steps": ()}, "no step of")):
        with pytest.raises(ConfigError, match=said):
            opened(tmp_path / "d", **asked)


def test_only_what_is_asked_for_is_fetched(pythia, tmp_path):
    opened(tmp_path / "run", steps=(1, 512))
    assert set(pythia.downloads()) == {sha256(pythia, 1), sha256(pythia, 512)}


def test_a_download_that_is_cut_goes_on_where_it_was(pythia, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what the client has written when it is cut
    pythia.cut_after = [5000]
    series = opened(tmp_path / "run", steps=(0,))
    assert verify(series.root) == []
    ranges = [asked for method, path, asked in pythia.asked if method == "GET" and path.startswith("/cdn/")]
    assert ranges[:2] == [None, "bytes=5000-"]


def test_what_cannot_be_downloaded_leaves_a_series_that_goes_on(pythia, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    opened(tmp_path / "run", steps=(0,))
    pythia.cut_after = [0] * 6  # and again, as often as the client tries
    with pytest.raises(hub_api.Unreachable, match="The same command continues it"):
        opened(tmp_path / "run", steps=(1,))
    assert open_series(tmp_path / "run").steps == [0]
    assert opened(tmp_path / "run").steps == list(STEPS)
    assert verify(tmp_path / "run") == []


def test_the_budget_drops_what_was_read_longest_ago_and_fetches_it_again(pythia, tmp_path):
    size = len(pythia.repo(NAME).commits[pythia.repo(NAME).refs["step0"]]["model.safetensors"].data)
    series = opened(tmp_path / "run", cache=int(2.5 * size))
    assert hub_cache.size() <= 2.5 * size

    def here():
        record = series.manifest["source"]["more"]
        return {step for step in STEPS if hub_cache.held(NAME, record[str(step)]["commit"], "model.safetensors")}

    assert here() == {512, 1000}
    series.weights(512)  # now 1000 was read longest ago
    before = len(pythia.downloads())
    first = open_series(series.root).weights(0)
    assert len(pythia.downloads()) == before + 1
    assert here() == {0, 512}
    assert torch.isfinite(first["embed.W_E"]).all()
    before = len(pythia.downloads())
    assert verify(series.root) == []
    assert len(pythia.downloads()) - before <= 2 * len(STEPS)  # read once, and once more to be evaluated
    assert hub_cache.size() <= 2.5 * size
    with pytest.raises(ConfigError, match="--cache"):
        opened(tmp_path / "other", cache=size - 1)


def test_a_cached_series_needs_no_hub(pythia, tmp_path, monkeypatch):
    series = opened(tmp_path / "run", steps=(0, 1))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = list(pythia.asked)
    assert verify(series.root) == []
    assert opened(tmp_path / "again", steps=(0, 1)).steps == [0, 1]  # the same line, elsewhere
    assert pythia.asked == before
    with pytest.raises(SeriesError, match="HF_HUB_OFFLINE"):
        opened(tmp_path / "more", steps=(0, 512))
    shutil.rmtree(hub_cache.folder())
    with pytest.raises(SeriesError, match=r"cannot be reached.*HF_HUB_OFFLINE"):
        series.weights(0)
    shutil.rmtree(hub_cache.root())
    with pytest.raises(SeriesError, match="cannot be reached"):
        opened(tmp_path / "none")


def test_without_a_network_it_says_so(pythia, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SeriesError, match=r"cannot be reached at http://127\.0\.0\.1:9"):
        opened(tmp_path / "run")


def test_what_goes_with_folders_is_refused(pythia, tmp_path):
    with pytest.raises(ConfigError, match="are only for folders"):
        opened(tmp_path / "run", pattern="step_{step}.safetensors")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (f"hub:{NAME}@step7*", "'step7\\*'.*step0"),
        (f"hub:{NAME}@step0,step3", "'step3'"),
        (f"hub:{NAME}@main", "'main'"),
        ("hub:EleutherAI/none@step*", "no such repository"),
        ("hub:pythia@step*", "hub:USER/NAME"),
        (f"hub:{NAME}@", "hub:USER/NAME"),
    ],
)
def test_a_wrong_place_is_said(pythia, tmp_path, place, said):
    with pytest.raises(ConfigError, match=said):
        opened(tmp_path / "run", place)
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_revision_that_is_gone_is_said(pythia, tmp_path):
    series = opened(tmp_path / "run", steps=(0, 1))
    shutil.rmtree(hub_cache.folder())
    pythia.repo(NAME).commits.pop(series.manifest["source"]["more"]["1"]["commit"])
    with pytest.raises(SeriesError, match="no longer has this revision"):
        series.weights(1)
    assert any("no longer has this revision" in problem for problem in verify(series.root))


def test_a_revision_that_moved_is_said_and_the_series_stays_as_it_was(pythia, made, tmp_path, caplog):
    series = opened(tmp_path / "run", steps=(0, 1))
    pythia.repo(NAME).commit("step1", made[1000])
    again = opened(tmp_path / "run", steps=(0, 1))
    assert "step 1 of" in caplog.text
    assert again.entries == series.entries
    assert verify(series.root) == []


def test_two_revisions_with_the_same_weights_are_said(pythia, made, tmp_path, capsys):
    """As of Pythia-2.8b, where early branches serve late weights."""
    pythia.repo(NAME).commit("step1", made[1000])
    cli.main(["open", PLACE, "--out", str(tmp_path / "run"), "--length", "16", "--n", "8", "--quiet"])
    out = capsys.readouterr().out
    assert "ODD: steps 1, 1,000 have the same weights" in out
    assert any("same weights" in problem for problem in verify(tmp_path / "run"))


def test_other_bytes_than_the_hub_says_are_refused(pythia, tmp_path):
    data = bytearray(pythia.repo(NAME).commits[pythia.repo(NAME).refs["step1"]]["model.safetensors"].data)
    data[-1] ^= 1
    pythia.lies[sha256(pythia, 1)] = bytes(data)
    with pytest.raises(SeriesError, match="does not have the hub's sha256"):
        opened(tmp_path / "run", steps=(1,))
    pythia.lies.clear()
    assert opened(tmp_path / "run", steps=(1,)).steps == [1]


def test_shards_and_pickles(hub, tmp_path):
    whole, parts = revision(3, tmp_path / "a"), revision(3, tmp_path / "b", max_shard_size="20KB")
    assert "model.safetensors" not in parts
    hub.repo("a/whole").commit("step3", whole)
    hub.repo("a/parts").commit("step3", parts)
    series = [opened(tmp_path / name, f"hub:a/{name}@step3") for name in ("whole", "parts")]
    assert verify(series[1].root) == []
    for name, w in series[0].weights(3).items():
        assert torch.equal(w, series[1].weights(3)[name])
    state = _state(whole)
    torch.save(state, tmp_path / "pytorch_model.bin")
    pickled = {"config.json": whole["config.json"], "pytorch_model.bin": (tmp_path / "pytorch_model.bin").read_bytes()}
    hub.repo("a/pickled").commit("step3", pickled)
    with pytest.raises(ConfigError, match="--pickles"):
        opened(tmp_path / "p", "hub:a/pickled@step*")
    old = opened(tmp_path / "p", "hub:a/pickled@step*", pickles=True)
    assert torch.equal(old.weights(3)["embed.W_E"], series[0].weights(3)["embed.W_E"])


def _state(files):
    from safetensors.torch import load

    return load(files["model.safetensors"])


def test_a_copy_needs_the_hub_no_longer(pythia, tmp_path, monkeypatch):
    series = opened(tmp_path / "run", settings=Settings(length=16, n=8, copy=True), steps=(0, 1))
    shutil.rmtree(hub_cache.root())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not is_light(series)
    assert verify(series.root) == []


def test_open_series_takes_the_address(pythia, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    series = open_series(f"hub:{NAME}@step0,step1")
    assert series.root == tmp_path / "checkpoints" / "pythia-14m"
    assert series.steps == [0, 1]


@pytest.mark.parametrize(
    ("text", "bytes_"), [("20GB", 20 * 10**9), ("500 mb", 5 * 10**8), ("1000", 1000), ("1.5G", 15 * 10**8)]
)
def test_sizes_are_read(text, bytes_):
    assert hub_cache.parse_bytes(text) == bytes_


@pytest.mark.parametrize("text", ["", "much", "-1GB", "0", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match="--cache"):
        hub_cache.parse_bytes(text)


@pytest.mark.slow
def test_the_command_in_a_process_of_its_own(pythia, tmp_path):
    """HF_ENDPOINT and HF_HUB_OFFLINE as a user sets them: the hub's client reads them when it is imported."""
    line = [
        sys.executable,
        "-m",
        "mechicl",
        "open",
        PLACE,
        "--steps",
        "0,1",
        "--n",
        "8",
        "--length",
        "16",
        "--quiet",
    ]
    env = os.environ | {"HF_ENDPOINT": pythia.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def call(out, **more):
        words = [*line, "--out", str(tmp_path / out)]
        return subprocess.run(words, env=env | more, capture_output=True, text=True, timeout=120, cwd=tmp_path)

    done = call("run")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["schedule"] == [0, 1]
    before = len(pythia.asked)
    assert call("offline", HF_HUB_OFFLINE="1").returncode == 0
    assert len(pythia.asked) == before
    lost = call("lost", HF_HUB_OFFLINE="1", MECHICL_HUB_CACHE=str(tmp_path / "empty"))
    assert lost.returncode == 2
    assert "HF_HUB_OFFLINE" in lost.stderr
    assert "Traceback" not in lost.stderr
