"""Modules become one script, the policy lets only that run, and what a run says stays text."""

import base64
import hashlib
import re

import pytest

from mechicl.export import html


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Call it with name -> text of some modules, to be joined."""
    monkeypatch.setattr(html, "ASSETS", tmp_path)

    def joined(**texts):
        for name, text in texts.items():
            (tmp_path / f"{name}.js").write_text(text)
        return html.joined(tuple(texts))

    return joined


def test_each_modules_own_names_stay_its_own(modules):
    script = modules(
        one="const own = 1;\nexport const $a = own;\nexport function b() {}\n",
        two='import { $a, b } from "./one.js";\nconst own = 2;\nexport class C {}\n',
    )
    assert "import" not in script
    assert "export" not in script
    assert re.findall(r"^const \{ (.*) \} =", script, flags=re.M) == ["$a, b", "C"]


@pytest.mark.parametrize(
    ("second", "says"),
    [('import { nothing } from "./one.js";\n', "nothing"), ("export const a = 2;\n", "a once more")],
)
def test_what_cannot_be_joined_is_named(modules, second, says):
    with pytest.raises(ValueError, match=says):
        modules(one="export const a = 1;\n", two=second)


def test_the_policy_names_what_stands_in_the_page_and_nothing_else():
    page = html.render("x", {"a": "</script><b>"}, {0: b"\0\1"})
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', page)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    assert not re.search(r"unsafe-inline|https?:|\*|'self'", policy)
    for what, tag in (("script", "<script>"), ("style", "<style>")):
        inside = page.split(tag)[1].split(f"</{what}>")[0]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{what}-src 'sha256-{digest}'" in policy


def test_what_a_run_says_is_text():
    page = html.render("<img src=x>", {"name": "</script><script>alert(1)</script>"}, {})
    assert "<img" not in page
    assert "alert(1)</script>" not in page
    assert page.count("<script") == page.count("</script>") == 3


def test_the_scripts_load_nothing():
    for script in (html.joined(html.PAGE), html.joined(html.WORKER)):
        assert not re.search(r"\bfetch\(|XMLHttpRequest|importScripts|WebSocket|sendBeacon|innerHTML|eval\(", script)
