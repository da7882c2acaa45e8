"""Tasks: what a run is trained on, one door for all of them.

    base.py           Task, the protocol, and its registry; `task_of(config)`
    batch.py          TaskBatch: what a model reads, and what is scored where
    exemplar_label/   exemplars and labels (`Config.bank`, `Config.sequences`): the task of a config that names none
    markov/           samples of Markov chains, scored at every position

docs/extending.md shows a task of one's own, in one file.
"""

from mechicl.tasks.base import Source as Source
from mechicl.tasks.base import Task as Task
from mechicl.tasks.base import register as register
from mechicl.tasks.base import task_of as task_of
