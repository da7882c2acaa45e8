"""A device that is not there: a second memory on the CPU, which calls itself `meta` and really computes.

What torch's own meta device cannot do, a whole evaluation, runs on it, and what is wrong on a GPU is wrong here: an
operator that meets tensors of two devices (a CPU number without axes aside, which any device takes), a tensor of the
device read as numpy, a sum waited for where none may be. Each is an error that names the operator.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

NAME = "meta"
_CROSSING = ("aten._to_copy", "aten.copy_", "aten.copy")  # may have two devices: that is what they are for
_WAITING = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.unique", "aten.equal")


class Away(torch.Tensor):
    """A tensor on it. What it holds is a tensor of the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor):
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=NAME,
        )
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self) -> list:  # torch refuses it of any subclass; of a GPU's tensor it copies
        return self.cpu().tolist()


class Device(TorchDispatchMode):
    """While it is on, tensors made on `meta` are `Away`. ran: how often each operator ran there; waited: those that the
    CPU would have waited for; crossed: copies from or to the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: Counter[str] = Counter()
        self.waited: Counter[str] = Counter()
        self.crossed: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {}, self)


@contextmanager
def pretended(monkeypatch) -> Iterator[Device]:
    """The device is there, and can be named as any other."""
    from mechicl.system import devices, work_queue

    there = devices.present()
    monkeypatch.setattr(devices, "present", lambda: {**there, NAME: "pretended"})
    # Views of wrapped tensors are more than torch's inference mode can do; without gradients is as much.
    monkeypatch.setattr(torch, "inference_mode", lambda mode=True: torch.no_grad() if mode else nullcontext())
    monkeypatch.setattr(work_queue, "_helper", lambda: None)  # what sees the operators is a thread's own
    with Device() as device:
        yield device


def _run(func, args, kwargs, device: Device | None = None):
    name = str(func).rsplit(".", 1)[0]
    tensors = [x for x in _pytree.tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    away = [x for x in tensors if isinstance(x, Away)]
    asked = kwargs.get("device")
    to = None if asked is None else torch.device(asked).type
    if not away and to != NAME:
        return func(*args, **kwargs)
    if empty := [x for x in tensors if x.device.type == NAME and not isinstance(x, Away)]:
        raise AssertionError(  # torch makes an index of a list below what can be seen: build such tensors on the CPU
            f"{func}: {[tuple(x.shape) for x in empty]} came about unseen, as by x[[0, 1]] with a list"
        )
    crosses = name in _CROSSING and (to not in (None, NAME) or len(away) < len(tensors))
    if away and len(away) < len(tensors) and not crosses:
        taken = args[1] if name.startswith("aten.index") else ()  # places, which torch moves itself
        strangers = [x for x in tensors if not isinstance(x, Away) and x.dim() and not any(x is at for at in taken)]
        crosses = bool(taken) and not strangers
        if strangers:
            raise AssertionError(f"{func}: tensors of two devices; on the CPU {[tuple(x.shape) for x in strangers]}")
    if device is not None:
        device.ran[name] += 1
        device.crossed[name] += crosses
        masked = name.startswith("aten.index") and any(x.dtype == torch.bool for x in tensors[1:2])
        device.waited[name] += name in _WAITING or masked
    inner_args, inner = _pytree.tree_map_only(Away, lambda x: x.held, (args, kwargs))
    if asked is not None:
        inner["device"] = torch.device("cpu")
    out = func(*inner_args, **inner)
    if to == "cpu" or (name == "aten.copy_" and not isinstance(args[0], Away)):
        return args[0] if name == "aten.copy_" else out
    wrapped = _pytree.tree_map_only(torch.Tensor, Away, out)
    return return_and_correct_aliasing(func, args, kwargs, wrapped)
