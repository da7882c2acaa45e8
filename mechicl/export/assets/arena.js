/* Memory for one forward pass after another, and the product of matrices in it.

   All numbers are float32 in one block of memory. A pass takes pieces from its start, and the next pass takes them again:
   nothing is freed, and nothing that a pass returns lies in it. The product is WebAssembly (kernel.wat), five times as
   quick as the loop below, which serves where a browser has none or where columns do not come in fours. */

const PAGE = 65536;

export class Arena {
  /* kernel: the bytes of the WebAssembly module, or null; bytes: how much a pass takes at most. */
  constructor(kernel, bytes) {
    const pages = Math.ceil(bytes / PAGE) + 1;
    try {
      const memory = new WebAssembly.Memory({ initial: pages });
      const made = new WebAssembly.Instance(new WebAssembly.Module(kernel), { page: { memory } });
      this.kernel = made.exports.gemm;
      this.buffer = memory.buffer;
    } catch {
      this.kernel = null;
      this.buffer = new ArrayBuffer(pages * PAGE);
    }
    this.used = 0;
  }

  reset() {
    this.used = 0;
  }

  /* A piece of `count` numbers, whose content is left over from the pass before. */
  floats(count) {
    const at = this.used;
    this.used += (count * 4 + 15) & ~15;
    return new Float32Array(this.buffer, at, count); // a RangeError where the pass takes more than was said
  }

  put(values) {
    const place = this.floats(values.length);
    place.set(values);
    return place;
  }

  /* c = a @ b, or c += a @ b with `add`: a [m, k], b [k, n], c [m, n], pieces of this memory or parts of them (subarray).
     lda, ldb, ldc: how many numbers apart their rows are. */
  gemm(a, lda, b, ldb, c, ldc, m, k, n, add = false) {
    const fours = this.kernel ? n - (n % 4) : 0;
    if (fours) this.kernel(a.byteOffset, 4 * lda, b.byteOffset, 4 * ldb, c.byteOffset, 4 * ldc, m, k, fours, Number(add));
    if (fours < n) loops(a, lda, b, ldb, c, ldc, m, k, fours, n, add);
  }
}

function loops(a, lda, b, ldb, c, ldc, m, k, from, n, add) {
  for (let i = 0; i < m; i++) {
    const row = c.subarray(i * ldc + from, i * ldc + n);
    if (!add) row.fill(0);
    for (let p = 0; p < k; p++) {
      const x = a[i * lda + p], at = p * ldb + from;
      for (let j = 0; j < row.length; j++) row[j] += x * b[at + j];
    }
  }
}
