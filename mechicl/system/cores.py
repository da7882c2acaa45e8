"""How many cores this process may use: not always all that the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MINE = Path("/proc/self/cgroup")


def cores() -> int:
    """The number of cores that this process may use, at least 1. `taskset`, a batch system's CPU set or
    PYTHON_CPU_COUNT limit it, and so does a container's share of CPU time, rounded up."""
    counted = getattr(os, "process_cpu_count", None)  # Python 3.13
    if counted is not None:
        count = counted()
    else:
        count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min(count or 1, _quota())))


def _quota() -> float:
    """The smallest CPU time per second that a control group above this process allows; inf without any limit."""
    try:
        lines = _MINE.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return math.inf
    found = [math.inf]
    for _, controllers, group in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if not controllers:  # version 2, one tree for all controllers
            found += [_share(folder / "cpu.max") for folder in _upwards(_CGROUPS, group)]
        elif "cpu" in controllers.split(","):
            found += [
                _share(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us")
                for tree in ("cpu", controllers)
                for folder in _upwards(_CGROUPS / tree, group)
            ]
    return min(found)


def _upwards(tree: Path, group: str) -> list[Path]:
    """A group's folder and all folders above it. Inside a container the names may be the host's; then only the top
    exists."""
    parts = [part for part in group.split("/") if part not in ("", "..")]
    return [tree.joinpath(*parts[:n]) for n in range(len(parts), -1, -1)]


def _share(*files: Path) -> float:
    """Quota / period of `cpu.max`, which holds both, or of version 1's two files; inf where there is no limit."""
    try:
        quota, period = (word for file in files for word in file.read_text(encoding="ascii").split())
        share = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such controller
        return math.inf
    return share if share > 0 else math.inf  # version 1 writes -1
