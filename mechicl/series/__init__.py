"""A run on disk: one transformer at many training steps.

series      Series
opening     `open_series`
storage     files that appear whole or not at all, and their index
elsewhere   checkpoints that are somebody else's files
bulk        many checkpoints' weights at once
source      what the sequences are drawn from, rebuilt and checked
finite      refuses numbers that are none
extend      a run's plan made longer
verify      is every file what its index says, and does a replay give the same bytes?
reevaluate  the recorded curves measured again
"""

from mechicl.series.opening import open_series as open_series
from mechicl.series.series import Series as Series
