"""How commands that compute tables open a run: which of its checkpoints, and who computes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from mechicl.cli.arguments import Device, Every, Slurm, Steps, Workers
from mechicl.errors import ConfigError

if TYPE_CHECKING:
    from mechicl.series import Series


@dataclass(frozen=True)
class Reading:
    """Options that commands share: each takes them as one argument, and help lists them with the command's own."""

    steps: Steps = None
    every: Every = None
    device: Device = None
    workers: Workers = 1
    slurm: Slurm = None

    @property
    def some(self) -> bool:
        """Whether checkpoints were named, instead of all."""
        return self.steps is not None or self.every is not None

    def check_one(self, step: int | None) -> None:
        """See that `--step`, for one checkpoint, stands alone."""
        if self.some and step is not None:
            raise ConfigError(f"give --step {step} for one checkpoint, or --steps or --every for several, not both.")

    def series(self, run: Path) -> Series:
        """The run with these checkpoints, whose tables are computed as asked."""
        from mechicl.series import choosing, open_series
        from mechicl.system.executor import executor_of

        series = choosing.chosen(open_series(run, device=self.device), self.steps, self.every)
        executor = executor_of(self.workers)
        if self.slurm is not None:
            from mechicl.system.slurm import of_tables

            executor = of_tables(series.root, self.slurm, self.workers)
        return replace(series, executor=executor)


ALL = Reading()
Read = Annotated[Reading, arg(name="")]  # without a name its options stand among the command's own
