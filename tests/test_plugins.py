"""Modules that a command line names: found, or refused with what helps."""

import pytest

from mechicl import plugins
from mechicl.errors import ConfigError
from mechicl.system.commands import command


def test_a_module_of_this_directory_is_found_and_commands_name_it(plugin_folder):
    (plugin_folder / "found_here.py").write_text("")
    with pytest.warns(UserWarning, match="--plugin found_here registered nothing: is a decorator missing"):
        plugins.load(["found_here"])
    plugins.load(["found_here"])  # it was said
    assert "found_here" in plugins.asked()
    assert "found_here" in plugins.for_workers()
    assert command("report", "run").endswith("--plugin found_here`")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("nowhere", None, "there is no module 'nowhere', neither in this directory"),
        ("nowhere.deeper", None, "there is no module 'nowhere'"),
        ("mine.py", "", "expected a module's name.* Did you mean --plugin mine?"),
        ("folder/mine.py", "", "Did you mean --plugin folder.mine?"),
        ("", None, "expected a module's name"),
        ("/some where/mine.py", None, "cd '/some where' and --plugin mine"),
        ("needs", "import not_installed_here", r"cannot be imported: ModuleNotFoundError.*needs.py, line 1"),
        ("broken", "x = 1\nraise ValueError('why')", r"cannot be imported: ValueError: why \(.*broken.py, line 2"),
        ("unparsed", "def", r"cannot be imported: SyntaxError: invalid syntax \(.*unparsed\.py, line 1\)"),
        (
            "again",
            "from mechicl.tasks.exemplar_label.banks.kinds import bank\n"
            "@bank('gaussian')\ndef again(config, seed, data): ...",
            "--plugin again: again registers the bank kind 'gaussian', but "
            "mechicl.tasks.exemplar_label.banks.kinds has",
        ),
    ],
)
def test_what_cannot_be_loaded_says_why(plugin_folder, name, text, words):
    if text is not None:
        (plugin_folder / f"{name.removesuffix('.py').replace('/', '_')}.py").write_text(text)
    with pytest.raises(ConfigError, match=words):
        plugins.load([name])
    assert name not in plugins.asked()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (["show", "run"], []),
        (["show", "--plugin", "a", "run", "--plugin=b"], ["a", "b"]),
        (["show", "--plugin"], []),
    ],
)
def test_a_line_is_read_before_it_is_parsed(line, named):
    assert sorted(plugins.named(line)) == named
