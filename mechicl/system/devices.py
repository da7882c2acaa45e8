"""Which device computes: named by the user, checked before any work, and recorded by a run.

A name is what torch calls it: cpu, cuda, cuda:1, mps. The CPU is the default everywhere. Other devices run the
reference engine (`engine.forward` with autograd); compiled kernels are the CPU's alone.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mechicl.errors import ConfigError

CPU = "cpu"
KINDS = ("cpu", "cuda", "mps")


def present() -> dict[str, str]:
    """Device -> what it is, of every device that this machine and this torch have."""
    import torch

    found = {CPU: f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"}
    if torch.cuda.is_available():
        found |= {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        found["mps"] = f"Apple GPU of {platform.machine()}"
    return found


def chosen(device: object | None) -> str:
    """The device of a name, in full: 'cuda' is 'cuda:0'. None is the CPU.

    Raises:
        ConfigError: no such kind of device, or this machine does not have it: what it has, and what to give.
    """
    name = CPU if device is None else str(device)
    if name == CPU:
        return CPU
    kind, _, number = name.partition(":")
    there = present()
    for full in (name, f"{name}:0"):
        if full in there:
            return full
    listed = ", ".join(f"{each} ({what})" for each, what in there.items())
    if kind not in KINDS or (number and not number.isdigit()):
        raise ConfigError(f"device {name!r}: expected cpu, cuda, cuda:1, ... or mps. This machine has {listed}.")
    raise ConfigError(f"device {name!r}: this machine has {listed}{_why(kind)}. Give --device {CPU}, or leave it out.")


def _why(kind: str) -> str:
    import torch

    if kind == "cuda" and not torch.backends.cuda.is_built():
        return f", and its torch {torch.__version__} was built without CUDA (https://pytorch.org/get-started)"
    return ""


def kind_of(device: str) -> str:
    """'cuda' of 'cuda:1'."""
    return device.partition(":")[0]


def record(device: str, stacked: int = 1) -> dict[str, Any]:
    """What a run's manifest keeps of the device that trained it: on which replays to the bit depend.

    Args:
        stacked: how many runs went through each step together.
    """
    import torch

    kind = kind_of(device)
    return {
        "kind": kind,
        "name": present().get(device, kind),
        "tf32": torch.get_float32_matmul_precision() != "highest" or torch.backends.cudnn.allow_tf32,
        "autocast": torch.is_autocast_enabled(kind) if kind in KINDS else False,
        "deterministic_algorithms": kind == CPU or torch.are_deterministic_algorithms_enabled(),
        **({"stacked": stacked} if kind != CPU else {}),
    }


@contextmanager
def deterministic(device: str) -> Iterator[None]:
    """Sums in one order on devices where torch would otherwise take any: the same step gives the same bits. The CPU
    always does. cuBLAS needs a workspace of its own for that, which its variable asks for."""
    if kind_of(device) == CPU:
        yield
        return
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
