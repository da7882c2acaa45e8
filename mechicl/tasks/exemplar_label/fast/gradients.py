"""Loss and gradients of one training step, written out layer by layer, on the CPU.

What autograd gives through `forward` (a test compares them), without its bookkeeping, which
at this size costs as much as the arithmetic; numpy, because a view of a small array costs it
a fifth of what it costs torch. Each piece returns its output and its pullback: a function
from the gradient at the output to the gradient at the input, which fills in the gradients of
its parameters on the way.

Activations are [s, d, n], their columns n all positions of all sequences, the batch last (engine/fast/batch_last.py
says why). So a linear map is w.T @ x: weights [s, i, o] take x [s, i, n] to [s, o, n].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType

import numpy as np

from mechicl.config import ModelConfig
from mechicl.engine.fast.attention import attention, attention_backward
from mechicl.engine.fast.batch_last import interleave, interleave_backward
from mechicl.engine.fast.layers import Array, Arrays, Pullback, add_last, linear, mlp, norm, outer
from mechicl.engine.fast.unembed import cross_entropy
from mechicl.engine.held import HeldLayer
from mechicl.engine.ops import matmul_arrays
from mechicl.models.params import sinusoidal_positions
from mechicl.system.work_queue import WORTH, share
from mechicl.tasks.exemplar_label.batch import Batch
from mechicl.tasks.exemplar_label.clamped import ELSEWHERE
from mechicl.tasks.exemplar_label.encoder import encode_with_pullback
from mechicl.tasks.exemplar_label.fast.clamped import ClampedAttention
from mechicl.tasks.exemplar_label.fast.placed import clamp_rows, move, move_back, sum_and_shares, turning


def loss_and_gradients(
    params: Arrays,
    batch: Batch,
    model: ModelConfig,
    grads: Arrays,
    held: Mapping[int, HeldLayer] = MappingProxyType({}),
    unembedded: Callable[[], object] = lambda: None,
) -> Array:
    """Mean cross-entropy at the query, as `protocol.batch.Gradients` says.

    Only the label embedding's gradient is added to, in the few rows that the batch shows: it must come as zeros.
    """
    features, labels, target = (
        x.numpy() if x.dim() == axes else x.numpy()[None]
        for x, axes in ((batch.exemplars, 4), (batch.labels, 3), (batch.target, 2))
    )
    b = target.shape[1]
    x, back = _embed(params, features, labels, model, grads)
    pullbacks: list[Pullback] = [back]
    for layer in range(model.n_layers):
        block = f"blocks.{layer}"
        last, what = layer == model.n_layers - 1, held.get(layer)
        if what is not None and what.reads is not None:
            value, back = _copied(params, x, model, grads, what, labels, target)
            dx = np.empty(0)
            unembedded()
            pullbacks.append(back)
            break
        x, back = _attention(params, x, b, model, block, last, grads, what, batch)
        pullbacks.append(back)
        if model.has_mlp(layer):
            x, back = mlp(params, x, model, block, grads)
            pullbacks.append(back)
    else:
        if model.layer_norm:
            x, norm_back = norm(params, "ln_final", x, grads)
            pullbacks.append(partial(norm_back, past=x[:, :, :0]))  # nothing goes past it
        value, dx = _head(params, x, target, grads)
        unembedded()
    for back in reversed(pullbacks):
        dx = back(dx)
    return value


def _embed(params: Arrays, features: Array, labels: Array, model: ModelConfig, grads: Arrays):
    w, bias, table = (params[name] for name in ("exemplar_embed.W", "exemplar_embed.b", "embed.W_E"))
    (s, b, pairs), d = labels.shape, model.d_model
    encoder_back = None
    if model.encoder == "conv":
        features, encoder_back = encode_with_pullback(params, features, model, grads)
    learned = model.positions == "learned"
    if learned:
        positions = params["pos_embed.W_pos"]
    elif model.positions == "sinusoidal":
        positions = _sinusoids(s, 2 * pairs + 1, d, model.position_time, w.dtype)
    else:  # rotary ones turn queries and keys instead
        positions = np.zeros((s, 2 * pairs + 1, d), w.dtype)
    seen = np.ascontiguousarray(features.swapaxes(1, 2), w.dtype).reshape(s, -1, w.shape[1])  # [s, (C+1) b, i]
    shown = matmul_arrays(w.mT, seen.mT).reshape(s, d, pairs + 1, b)
    x = np.empty((s, d, 2 * pairs + 1, b), w.dtype)
    interleave(shown, bias, table, labels, positions, x)

    def back(dx: Array) -> Array:
        dx, d_shown = dx.reshape(x.shape), np.empty_like(shown)
        d_positions = grads["pos_embed.W_pos"] if learned else np.empty_like(positions)
        interleave_backward(dx, labels, d_shown, grads["exemplar_embed.b"], grads["embed.W_E"], d_positions)
        d_shown = d_shown.reshape(s, d, -1)
        matmul_arrays(seen.mT, d_shown.mT, grads["exemplar_embed.W"])
        if encoder_back is not None:
            d_seen = matmul_arrays(d_shown.mT, w.mT).reshape(s, pairs + 1, b, -1)
            encoder_back(d_seen.swapaxes(1, 2))
        return dx

    return x.reshape(s, d, -1), back


@lru_cache(maxsize=16)
def _sinusoids(s: int, t: int, d: int, time: float, dtype: np.dtype) -> Array:
    """[s, t, d], to be read only."""
    return np.repeat(sinusoidal_positions(t, d, time).numpy().astype(dtype)[None], s, axis=0)


def _attention(
    params: Arrays,
    x: Array,
    b: int,
    model: ModelConfig,
    block: str,
    query_only: bool,
    grads: Arrays,
    held: HeldLayer | None,
    batch: Batch,
):
    w_out, (s, d, _), h, size = params[f"{block}.attn.W_O"], x.shape, model.n_heads, model.d_head
    *heads, slots, project_back = _project(params, x, b, model, block, query_only, grads, held)
    asking = heads[0].shape[4]
    z, scale, p = np.empty((s, h, size, asking, b), x.dtype), x.dtype.type(size**-0.5), None
    keep = None if held is None or held.keep is None else held.keep.numpy().astype(x.dtype)
    clamp = None if held is None else held.clamp
    match = () if held is None else held.match
    rows = [(head, *clamp_rows(batch, strength, x.dtype)) for head, strength in match]
    clamped = None if clamp is None else ClampedAttention(heads[0], heads[1], slots, scale, clamp, rows)
    if clamped is None:
        p = attention(heads[0], heads[1], slots, scale, z)
    else:
        z = clamped.z
    if keep is not None:
        z *= keep[:, None, None, None]
    z = z.reshape(s, d, -1)
    out = linear(w_out, z)
    out += x[:, :, -b:] if query_only else x

    def back(d_out: Array) -> Array:
        outer(z, d_out, grads[f"{block}.attn.W_O"])
        dq = np.empty_like(heads[0])
        dkv = np.empty_like(heads[1]) if query_only else dq
        dz = linear(w_out.mT, d_out).reshape(s, h, size, asking, b)
        if keep is not None:
            dz *= keep[:, None, None, None]
        if clamped is None:
            assert p is not None  # only a clamp has none
            attention_backward(heads[0], heads[1], slots, scale, p, dz, dq, dkv)
        else:
            clamped.gradient(dz, dq, dkv)
        return project_back(dq, dkv, d_out)

    return out, back


def _project(
    params: Arrays,
    x: Array,
    b: int,
    model: ModelConfig,
    block: str,
    query_only: bool,
    grads: Arrays,
    held: HeldLayer | None,
):
    """Queries q [s, slot, h, k, q, b], and keys and values kv [s, slot, h, k, t, b], as `attention` wants them, with
    their slots; and what takes their gradients, which it may change, and that which goes past them, to that at x."""
    w, dw = params[f"{block}.attn.W_QKV"], grads[f"{block}.attn.W_QKV"]
    y, norm_back = norm(params, f"{block}.ln1", x, grads) if model.layer_norm else (x, add_last)
    (s, d, columns), h, size = x.shape, model.n_heads, model.d_head
    asking, t = np.ascontiguousarray(y[:, :, -b:]) if query_only else y, columns // b
    if query_only:
        q, kv, slots = linear(w[..., :d], asking), linear(w[..., d:], y), (0, 0, 1)
    else:
        q = kv = linear(w, y)
        slots = (0, 1, 2)
    heads = q.reshape(s, -1, h, size, q.shape[2] // b, b), kv.reshape(s, -1, h, size, t, b)
    moved = None if held is None or held.moved is None else np.array(held.moved)
    if moved is not None:
        move(*heads, slots, moved)
    turn = turning(model, t, x.dtype, slots) if model.positions == "rotary" else None
    if turn is not None:
        turn(*heads, 1)

    def back(dq: Array, dkv: Array, past: Array) -> Array:
        if turn is not None:
            turn(dq, dkv, -1)
        if moved is not None:
            move_back(dq, dkv, slots, moved)
        dq, dkv = dq.reshape(q.shape), dkv.reshape(kv.shape)
        if query_only:
            dy = linear(w[..., d:].mT, dkv)
            dy[:, :, -b:] += linear(w[..., :d].mT, dq)
            outer(asking, dq, dw[..., :d])
            outer(y, dkv, dw[..., d:])
        else:
            dy = linear(w.mT, dq)
            outer(y, dq, dw)
        return norm_back(dy, past)

    return *heads, slots, back


def _copied(
    params: Arrays, x: Array, model: ModelConfig, grads: Arrays, held: HeldLayer, labels: Array, target: Array
) -> tuple[Array, Pullback]:
    """The loss [s] of a copied answer (clamped.py), and its pullback to x: it takes nothing. What comes after the
    head's scores has a gradient of 0."""
    block, head = f"blocks.{model.n_layers - 1}", held.reads
    unused = (f"{block}.attn.W_O", f"{block}.ln2", f"{block}.mlp", "ln_final", "unembed")
    for name, grad in grads.items():
        if name.startswith(unused):
            grad[:] = 0
    q, kv, slots, project_back = _project(params, x, target.shape[1], model, block, True, grads, held)
    asked, known = q[:, slots[0], head, :, -1], kv[:, slots[1], head][:, :, 1::2]  # [s, k, b], [s, k, C, b]
    scale, b = x.dtype.type(model.d_head**-0.5), target.shape[1]
    scores = np.einsum("skb,skcb->scb", asked, known) * scale
    right = (labels == target[..., None]).swapaxes(1, 2)  # [s, C, b]
    holds = right.any(1, keepdims=True)
    total, of_all = sum_and_shares(scores)
    wanted, of_right = sum_and_shares(np.where(right | ~holds, scores, -np.inf))
    losses = np.where(holds, total - wanted, x.dtype.type(ELSEWHERE))[:, 0]

    def back(_: Array) -> Array:
        d_scores = (of_all - of_right) * holds * (scale / b)
        dq, dkv = np.zeros_like(q), np.zeros_like(kv)
        dq[:, slots[0], head, :, -1] = np.einsum("scb,skcb->skb", d_scores, known)
        dkv[:, slots[1], head, :, 1::2] = np.einsum("scb,skb->skcb", d_scores, asked)
        return project_back(dq, dkv, x[:, :, :0])

    return losses.mean(-1), back


def _head(params: Arrays, x: Array, target: Array, grads: Arrays) -> tuple[Array, Array]:
    """The loss [s], and its gradient at x [s, d, n]. Logits are [s, b, v]: labels are many."""
    w, (s, b) = params["unembed.W_U"], target.shape
    final = np.ascontiguousarray(x[:, :, -b:])
    z, losses = np.empty((s, b, w.shape[2]), x.dtype), np.empty((s, b), x.dtype)
    # In halves where a second core may help, which is known from the size: a model's bits are its own.
    parts = [slice(b // 2), slice(b // 2, b)] if z[0].size > WORTH else [slice(b)]
    db = np.empty((len(parts), *params["unembed.b_U"].shape), x.dtype)

    def softmax(part: slice, out: Array) -> None:
        matmul_arrays(final[:, :, part].mT, w, z[:, part])
        for i in range(s):
            cross_entropy(x.dtype == np.float64)(
                z[i, part],
                params["unembed.b_U"][i : i + 1],
                target[i, part],
                b,
                x.dtype.type(1 / b),
                losses[i, part],
                out[i : i + 1],
            )

    share([partial(softmax, *each) for each in zip(parts, db, strict=True)], z.size)
    db.sum(0, out=grads["unembed.b_U"])
    d_final = np.empty_like(final)  # z has become its own gradient
    share([partial(matmul_arrays, final, z, grads["unembed.W_U"]), partial(matmul_arrays, w, z.mT, d_final)], z.size)
    if x.shape[2] == b:
        return losses.mean(-1), d_final
    dx = np.zeros_like(x)
    dx[:, :, -b:] = d_final
    return losses.mean(-1), dx
