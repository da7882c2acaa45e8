"""Tasks: what a run is trained on, one door for all of them. What each must say is in mechicl/protocol/.

    exemplar_label/   exemplars and labels (`Config.bank`, `Config.sequences`): the task of a config that names none
    markov/           samples of Markov chains, scored at every position
    text/             documents, as tokens
    conflict.py       the question that tasks share: what wins where the context contradicts the weights?
    base.py, batch.py, attention_scores.py   the old names of modules of mechicl/protocol/

docs/extending.md shows a task of one's own, in one file.
"""

from mechicl.protocol.known import task_of as task_of
from mechicl.protocol.task import Source as Source
from mechicl.protocol.task import Task as Task
from mechicl.protocol.task import register as register
