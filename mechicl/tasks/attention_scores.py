"""The old name of mechicl/protocol/attention_scores.py, which modules of yours may still import."""

from mechicl.protocol.attention_scores import SCORES as SCORES
from mechicl.protocol.attention_scores import Score as Score
