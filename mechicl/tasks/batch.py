"""The old name of mechicl/protocol/batch.py, which modules of yours may still import."""

from mechicl.protocol.batch import Hook as Hook
from mechicl.protocol.batch import Params as Params
from mechicl.protocol.batch import TaskBatch as TaskBatch
from mechicl.protocol.batch import embed_tokens as embed_tokens
from mechicl.protocol.batch import stack_batches as stack_batches
from mechicl.protocol.batch import token_attention as token_attention
from mechicl.protocol.batch import token_relations as token_relations
