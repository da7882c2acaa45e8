"""The kernel, assembled from its text, multiplies matrices; what the assembler does not know is named."""

import base64

import numpy as np
import pytest

from mechicl.export.html import ASSETS
from mechicl.export.wat import assemble

KERNEL = (ASSETS / "kernel.wat").read_text()
MULTIPLY = """([bytes, a, b, c, shape]) => {
  const from = (text) => Uint8Array.from(atob(text), (x) => x.charCodeAt(0));
  const memory = new WebAssembly.Memory({ initial: 4 });
  const { gemm } = new WebAssembly.Instance(new WebAssembly.Module(from(bytes)), { page: { memory } }).exports;
  const all = new Uint8Array(memory.buffer), [m, k, n, lda, ldb, ldc, add] = shape;
  all.set(from(a), 0); all.set(from(b), 65536); all.set(from(c), 131072);
  gemm(0, 4 * lda, 65536, 4 * ldb, 131072, 4 * ldc, m, k, n, add);
  return [...new Float32Array(memory.buffer, 131072, m * ldc)];
}"""


def text(x):
    return base64.b64encode(np.ascontiguousarray(x, "<f4").tobytes()).decode()


def test_it_multiplies_parts_of_matrices(chromium):
    """Odd and even numbers of rows, narrow and wide; rows with gaps between them, which stay as they are."""
    page, rng = chromium.new_page(), np.random.default_rng(0)
    kernel = base64.b64encode(assemble(KERNEL)).decode()
    for m, k, n in ((1, 1, 4), (2, 3, 16), (5, 12, 24), (7, 20, 40)):
        for add in (0, 1):
            a, b, c = (rng.standard_normal(s).astype("f4") for s in ((m, k + 3), (k, n + 4), (m, n + 8)))
            wanted = c.copy()
            wanted[:, :n] = add * c[:, :n] + a[:, :k] @ b[:, :n]
            shape = [m, k, n, k + 3, n + 4, n + 8, add]
            found = page.evaluate(MULTIPLY, [kernel, text(a), text(b), text(c), shape])
            np.testing.assert_allclose(np.reshape(found, c.shape), wanted, atol=1e-5)
    page.close()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("i32.sub", "i32.div_u"), "i32.div_u"),
        (("br_if $rows\n    end", "br_if $rows"), "no end"),
        (('(import "page" "memory" (memory 1))', ""), "import"),
    ],
)
def test_what_it_does_not_know_is_named(change, says):
    assert change[0] in KERNEL
    with pytest.raises(ValueError, match=says):
        assemble(KERNEL.replace(*change))
