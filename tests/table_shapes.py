"""Times that hand-made tables of evidence share."""

import numpy as np

TIMES = np.geomspace(1e4, 3e6, 20).round()
