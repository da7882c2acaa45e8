"""A run on disk: one transformer at many training steps.

series      Series
opening     `open_series`
storage     files that appear whole or not at all, and their index
elsewhere   checkpoints that other software wrote
bulk        many checkpoints' weights at once
placing     where pages about a run are put
recorded    metrics.jsonl, as lines and as tables
source      what the sequences are drawn from, built again and checked
alike       whether several runs are seeds of one recipe
given       refuses what is no series
settings_file  whether config.json is what was written
finite      refuses NaN and infinite numbers
extend      more steps for a run
ending      when a run is complete
origin      where a branch of another run begins
family      a branch's parent, a run's branches
verify      whether every file is what its index says, and scores what was recorded
reevaluate  the recorded curves measured again
"""

from mechicl.series.opening import open_series as open_series
from mechicl.series.series import Series as Series
