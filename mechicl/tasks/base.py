"""The old name of mechicl/protocol/task.py, which modules of yours may still import."""

from mechicl.protocol.known import DEFAULT as DEFAULT
from mechicl.protocol.known import TASKS as TASKS
from mechicl.protocol.known import kind_of as kind_of
from mechicl.protocol.known import task_of as task_of
from mechicl.protocol.task import DRAWS as DRAWS
from mechicl.protocol.task import STEPS_PER_DRAW as STEPS_PER_DRAW
from mechicl.protocol.task import Circuit as Circuit
from mechicl.protocol.task import Source as Source
from mechicl.protocol.task import Task as Task
from mechicl.protocol.task import register as register
