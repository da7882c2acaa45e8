"""A run on a hub and back, through the hub's own client and a server on loopback (hub_server.py)."""

import json

import pytest
from hub_server import TOKEN, Blob
from huggingface_hub import constants
from tiny_pythia import revision

from mechicl import cli
from mechicl.errors import ConfigError, SeriesError
from mechicl.reporting.publish import publish, uploads
from mechicl.series import open_series
from mechicl.series.verify import verify
from mechicl.sources import hub_api
from mechicl.sources.base import Asked
from mechicl.sources.opening import Settings, open_source
from mechicl.training.loop import train
from mechicl.training.replay import densify

PLACE = "hub:me/tiny"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's, of its HTTP library


@pytest.fixture
def me(hub, monkeypatch):
    """A hub, and a user who may write there."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub


def files(hub, name="me/tiny"):
    return hub.repos[name].commits[hub.repos[name].refs["main"]]


def elsewhere(folder):
    """A folder of checkpoints that another library wrote."""
    for step in (0, 5):
        revision(step, folder / "neox" / f"checkpoint-{step}")
    return folder / "neox"


def test_a_dry_run_lists_files_and_sends_nothing(hub, tiny_series, capsys):
    cli.main(["publish", str(tiny_series.root), PLACE, "--dry-run"])
    out = capsys.readouterr().out
    assert hub.asked == []
    sizes = {line.split()[1]: int(line.split()[0].replace(",", "")) for line in out.splitlines()[:-1]}
    for entry in tiny_series.entries:
        assert (sizes.get(entry.file) == entry.bytes) == (entry.kind == "weights")
    assert {"README.md", "config.json", "manifest.json", "index.jsonl", "metrics.jsonl"} <= sizes.keys()
    cli.main(["publish", str(tiny_series.root), PLACE, "--dry-run", "--states"])
    assert "state/step_00000060.safetensors" in capsys.readouterr().out


def test_it_is_published_and_opened_again(me, tiny_series, tmp_path, monkeypatch, capsys):
    cli.main(["publish", str(tiny_series.root), PLACE])
    assert f"{me.url}/me/tiny" in capsys.readouterr().out
    monkeypatch.delenv("HF_TOKEN")  # a stranger
    monkeypatch.chdir(tmp_path)
    cli.main(["open", PLACE, "--out", "again", "--quiet"])
    series, notes = open_series("again"), []
    assert series.config == tiny_series.config
    assert series.steps == tiny_series.steps
    assert series.metrics.value.tolist() == tiny_series.metrics.value.tolist()
    assert [e for e in series.entries if e.kind == "weights"] == [e for e in tiny_series.entries if e.kind == "weights"]
    assert not (series.root / "state").exists()
    assert verify("again", again=None, notes=notes) == notes == []
    assert open_series(PLACE).root == tmp_path / "checkpoints" / "tiny"


def test_its_card_has_curves_values_and_settings(me, tiny_series):
    publish(tiny_series, PLACE)
    text = files(me)["README.md"].data.decode()
    last = tiny_series.metrics.query("step == 60 and evaluator == 'icl' and metric == 'in_context_acc'").iloc[0]
    assert f"| icl | in_context_acc | {last.value:.3f} | {last.ci_low:.3f} to {last.ci_high:.3f} | {last.n} |" in text
    assert "bank.n_classes = 8" in text
    assert any(bar in text for bar in "▂▃▄▅▆▇█")
    assert f"mechicl open {PLACE}" in text
    assert "without optimiser states" in text


def test_nothing_of_this_machine_is_published(me, tiny_series, tmp_path):
    series = open_source(elsewhere(tmp_path), tmp_path / "mine", settings=Settings(n=8, copy=True), progress=False)
    for each in (tiny_series, series):
        publish(each, f"hub:me/{each.name}")
        for name, blob in files(me, f"me/{each.name}").items():
            for private in (str(tmp_path), str(each.root), str(each.root.parent)):
                assert private.encode() not in blob.data, name
    again = open_source("hub:me/mine", tmp_path / "again", progress=False)
    assert again.manifest["source"]["place"] == "neox"
    assert verify(again.root) == []


def test_states_go_with_it_where_they_are_asked_for(me, tiny_series, tmp_path):
    publish(tiny_series, PLACE, states=True)
    series = open_source(PLACE, tmp_path / "again", progress=False)
    assert series.entries == tiny_series.entries
    assert verify(series.root) == []
    publish(tiny_series, PLACE)  # and are taken away where they are not
    assert not [name for name in files(me) if name.startswith("state/")]


def test_without_states_it_is_densified_by_a_replay(me, tiny_series, tmp_path):
    publish(tiny_series, PLACE)
    open_source(PLACE, tmp_path / "again", progress=False)
    assert 33 in densify(tmp_path / "again", 33, 34, 1, progress=False).steps
    assert verify(tmp_path / "again") == []


def test_what_the_hub_has_is_not_sent_again(me, tiny_series):
    publish(tiny_series, PLACE)
    first = [path for method, path, _ in me.asked if method == "PUT"]
    assert len(first) == len(tiny_series.steps)
    publish(tiny_series, PLACE)
    assert [path for method, path, _ in me.asked if method == "PUT"] == first


def test_a_fetched_series_is_used_again_and_brought_up_to_date(me, tiny_copy, tmp_path):
    publish(tiny_copy, PLACE)
    open_source(PLACE, tmp_path / "again", progress=False)
    before = me.downloads()
    open_source(PLACE, tmp_path / "again", progress=False)
    assert me.downloads() == before
    densify(tiny_copy.root, 33, 34, 1, progress=False)
    publish(open_series(tiny_copy.root), PLACE)
    again = open_source(PLACE, tmp_path / "again", progress=False)
    assert {33, 34} <= set(again.steps)
    assert len(me.downloads()) == len(before) + 2  # only what is new
    assert verify(again.root) == []


def test_an_interrupted_fetch_is_no_run_yet_and_goes_on(me, tiny_series, tmp_path, monkeypatch):
    publish(tiny_series, PLACE)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    sent = me.downloads()
    me.cut_after = [10**9] * 3 + [0] * 6
    with pytest.raises(hub_api.Unreachable, match="continues it later"):
        open_source(PLACE, tmp_path / "again", progress=False)
    with pytest.raises(SeriesError, match=r"not a complete run yet.*hub:me/tiny"):
        open_series(tmp_path / "again")
    assert verify(open_source(PLACE, tmp_path / "again", progress=False).root) == []
    whole = len(me.downloads()) - len(sent) - 6
    assert whole == len(tiny_series.steps)  # each came whole once


def test_without_a_network_what_was_fetched_is_used(me, tiny_series, tmp_path, monkeypatch):
    publish(tiny_series, PLACE)
    open_source(PLACE, tmp_path / "again", progress=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert open_source(PLACE, tmp_path / "again", progress=False).steps == tiny_series.steps
    with pytest.raises(SeriesError, match="HF_HUB_OFFLINE"):
        open_source(PLACE, tmp_path / "other", progress=False)
    with pytest.raises(SeriesError, match="HF_HUB_OFFLINE"):
        publish(tiny_series, "hub:me/other")


def test_a_checkpoint_that_was_exchanged_on_the_hub_is_named(me, tiny_series, tmp_path):
    publish(tiny_series, PLACE)
    inside = files(me)
    late, name = inside["weights/step_00000060.safetensors"], "weights/step_00000020.safetensors"
    me.repos["me/tiny"].commit("main", {name: Blob(late.data, True)})
    with pytest.raises(SeriesError, match="step_00000020"):
        open_source(PLACE, tmp_path / "again", progress=False)


def test_files_that_are_no_part_of_a_run_are_not_fetched(me, tiny_series, tmp_path):
    publish(tiny_series, PLACE)
    strange = dict.fromkeys(("setup.py", "weights/../../up.safetensors", "weights/x.pkl", "analysis/a.html"), b"x")
    me.repos["me/tiny"].commit("main", strange)
    root = open_source(PLACE, tmp_path / "a" / "again", progress=False).root
    assert {path.suffix for path in root.rglob("*") if path.is_file()} <= {".json", ".jsonl", ".safetensors", ""}
    assert not (tmp_path / "a" / "up.safetensors").exists()
    assert not (tmp_path / "up.safetensors").exists()


def test_a_private_one_is_for_its_user(me, tiny_series, tmp_path, monkeypatch):
    cli.main(["publish", str(tiny_series.root), PLACE, "--private"])
    assert me.repos["me/tiny"].private
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ConfigError, match=r"private and this user is not logged in"):
        open_source(PLACE, tmp_path / "again", progress=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert open_source(PLACE, tmp_path / "again", progress=False).steps == tiny_series.steps


def test_who_may_not_write_is_told(hub, tiny_series, monkeypatch):
    with pytest.raises(ConfigError, match="hf auth login"):
        publish(tiny_series, PLACE)
    monkeypatch.setenv("HF_TOKEN", "hf_of_another")
    with pytest.raises(ConfigError, match="401"):
        publish(tiny_series, PLACE)
    assert hub.repos == {}
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SeriesError, match="cannot be reached"):
        publish(tiny_series, PLACE)


def test_a_repository_of_something_else_is_left_alone(me, tiny_series, tiny_config, tmp_path):
    from dataclasses import replace

    me.repo("me/tiny").commit("main", {"config.json": b"{}", "model.safetensors": b"x"})
    before = files(me)
    with pytest.raises(ConfigError, match="does not contain this run"):
        publish(tiny_series, PLACE)
    assert files(me) == before
    other = train(replace(tiny_config, steps=5, batch_size=8), tmp_path / "other", progress=False)
    publish(other, "hub:me/other")
    with pytest.raises(ConfigError, match="does not contain this run"):
        publish(tiny_series, "hub:me/other")


def test_what_cannot_be_published_is_said(me, tiny_copy, tmp_path):
    for place in ("me/tiny", "hub:me", "hub:me/tiny@step1"):
        with pytest.raises(ConfigError, match="hub:USER/NAME"):
            uploads(tiny_copy, place)
    light = open_source(elsewhere(tmp_path), tmp_path / "light", settings=Settings(n=8), progress=False)
    with pytest.raises(SeriesError, match="--copy"):
        publish(light, PLACE)
    (tiny_copy.root / "weights" / "step_00000020.safetensors").write_bytes(b"x")
    with pytest.raises(SeriesError, match="step_00000020"):
        publish(tiny_copy, PLACE)
    assert me.repos == {}


def test_what_is_no_series_is_said(me, tiny_series, tmp_path):
    me.repo("me/model").commit("step5", {"config.json": b"{}"})
    me.repo("me/model").commit("main", {"config.json": b"{}"})
    with pytest.raises(ConfigError, match=r"not made by `mechicl publish`.*hub:me/model@PATTERN.*@step5"):
        open_source("hub:me/model", tmp_path / "again", progress=False)
    publish(tiny_series, PLACE)
    with pytest.raises(ConfigError, match="--out"):
        open_source(PLACE, tmp_path / "again", asked=Asked(every=10), progress=False)
    with pytest.raises(SeriesError, match="another run"):
        open_source(PLACE, tiny_series.root, progress=False)


def test_a_run_passed_on_without_its_states_verifies_with_a_note(tiny_copy):
    import shutil

    shutil.rmtree(tiny_copy.root / "state")
    notes: list[str] = []
    assert verify(tiny_copy.root, notes=notes) == []
    assert any("replay from step 0" in note for note in notes)
    assert json.loads((tiny_copy.root / "index.jsonl").read_text().splitlines()[-1])["kind"] in ("weights", "state")


def test_an_upload_that_is_refused_is_said_and_goes_on_later(me, tiny_series, tmp_path):
    me.full = True
    with pytest.raises(ConfigError, match="413"):
        publish(tiny_series, PLACE)
    assert "manifest.json" not in files(me)
    me.full = False
    publish(tiny_series, PLACE)
    assert verify(open_source(PLACE, tmp_path / "again", progress=False).root) == []
