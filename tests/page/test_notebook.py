"""In a real notebook: the page as a frame, and attention in circuitsvis, both seen in a browser."""

import nbformat
import pytest
from nbclient import NotebookClient

from mechicl.measures.ablation import evaluate
from mechicl.page.texts import plain


@pytest.mark.slow
def test_a_notebook_shows_the_page_and_attention(begin, known_series, tmp_path):
    cells = [
        f"import mechicl\nseries = mechicl.open_series({str(known_series.root)!r})",
        "server = mechicl.app(series, height=700)\nserver",
        "mechicl.show_attention(series, 5, 'flip', sequence=3, ablate=mechicl.AblateHeads(heads=((0, 1),)))",
        "server.stop()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(x) for x in cells])
    client = NotebookClient(notebook, timeout=120)
    with client.setup_kernel():
        for i in range(3):
            client.execute_cell(notebook.cells[i], i)
        frames = [c.outputs[-1]["data"]["text/html"] for c in notebook.cells[1:3]]
        url = notebook.cells[1].outputs[-1]["data"]["text/plain"].split(" at ")[1].rstrip(">")
        assert f'<iframe src="{url}"' in frames[0]
        assert "height:700px" in frames[0]
        (tmp_path / "notebook.html").write_text("<meta charset='utf-8'>" + "".join(frames), encoding="utf-8")
        one = begin(url)
        one.page.goto((tmp_path / "notebook.html").as_uri())
        app = one.page.frame_locator("iframe >> nth=0")
        app.locator("#effect[data-shown]").wait_for()
        rows = evaluate(known_series, [5], ["icl"], metrics=None, progress=False)
        assert app.locator('[data-cell="icl.intact"]').inner_text() == plain(rows.value.item())
        attention = one.page.frame_locator("iframe >> nth=1")
        attention.get_by_text("Head Selector").wait_for()
        assert attention.get_by_text("L1H2").first.is_visible()
        one.shot("notebook")
        one.page.close()  # first: what it still asks a stopped server for would be reset
        client.execute_cell(notebook.cells[3], 3)
    assert all(o.output_type != "stream" or o.name != "stderr" for c in notebook.cells for o in c.outputs)
