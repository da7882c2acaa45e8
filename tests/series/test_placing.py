"""Pages and tables are not put under a wrong name, nor into another run."""

import shutil

import pytest

from mechicl.errors import ConfigError
from mechicl.export import export
from mechicl.reporting.report import report
from mechicl.series.placing import check_own, page_file


@pytest.mark.parametrize("write", [report, export])
def test_a_page_is_html(tiny_series, tmp_path, write):
    with pytest.raises(ConfigError, match=r"--out .*x\.pdf: expected a file that ends in \.html"):
        write(tiny_series, tmp_path / "x.pdf", progress=False)
    assert not (tmp_path / "x.pdf").exists()


@pytest.mark.parametrize("write", [report, export])
@pytest.mark.parametrize("inside", ["", "mine.html"])
def test_not_in_another_run(tiny_copy, tmp_path, write, inside):
    shutil.copytree(tiny_copy.root, tmp_path / "other")
    with pytest.raises(ConfigError, match=r"other is another run than .*tiny\. Write elsewhere"):
        write(tiny_copy, tmp_path / "other" / inside, progress=False)
    with pytest.raises(ConfigError, match="is another run"):
        check_own(tiny_copy, tmp_path / "other")


def test_where_a_page_is_put(tiny_copy, tmp_path):
    root = tiny_copy.root
    assert page_file(tiny_copy, None, "x.html", "") == page_file(tiny_copy, root, "x.html", "") == root / "x.html"
    assert page_file(tiny_copy, tmp_path, "x.html", "") == tmp_path / "x.html"
    (tmp_path / "link").symlink_to(root)
    assert page_file(tiny_copy, tmp_path / "link", "x.html", "") == tmp_path / "link" / "x.html"
