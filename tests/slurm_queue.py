"""A queue of our own in the place of submitit and squeue."""

import contextlib

from mechicl.errors import SeriesError
from mechicl.system import slurm
from mechicl.system.slurm import Slurm


class Submitted:
    def __init__(self, job_id: str):
        self.job_id = job_id


class Queue:
    """Stands for submitit and squeue: a job runs, here, when the queue has been looked at once."""

    def __init__(self, monkeypatch, dying: tuple[str, ...] = ()):
        self.jobs, self.sent, self.dying = {}, [], dying
        monkeypatch.setattr(slurm, "queued", self.queued)
        monkeypatch.setattr(
            Slurm, "_executor", lambda executor: executor.folder.mkdir(parents=True, exist_ok=True) or self
        )

    def map_array(self, task, jobs, files):
        numbers = [f"7_{i + len(self.sent)}" for i in range(len(jobs))]
        self.jobs |= {n: (task, job, file) for n, job, file in zip(numbers, jobs, files, strict=True)}
        self.sent += [job.name for job in jobs]
        return [Submitted(n) for n in numbers]

    def queued(self) -> set[str]:
        alive = set(self.jobs)
        for number, (task, job, file) in list(self.jobs.items())[:1]:
            if job.name not in self.dying:
                with contextlib.suppress(SeriesError):  # it is in the error file
                    task(job, file)
            del self.jobs[number]
        return alive
