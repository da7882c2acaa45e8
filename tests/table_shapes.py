"""Hand-made tables of evidence: times, and runs whose regime is known."""

import numpy as np
import pandas as pd

TIMES = np.geomspace(1e4, 3e6, 20).round()
UP_AND_DOWN, UP = (np.interp(np.arange(20), [0, 8, 19], [0.5, 0.97, end]) for end in (0.5, 0.97))
FLAT = np.full(20, 0.5)
SHAPES = {"fades": (UP_AND_DOWN, UP_AND_DOWN), "partial": (UP, UP_AND_DOWN), "stays": (UP, UP), "never": (FLAT, FLAT)}


def run(condition: str, kind: str, seed: int = 0, complete: bool = True) -> pd.DataFrame:
    icl, flip = SHAPES[kind]
    parts = [
        pd.DataFrame(
            {
                "condition": condition,
                "seed": seed,
                "complete": complete,
                "step": np.arange(20),
                "sequences": TIMES,
                "evaluator": name,
                "value": values,
                "n": 1000,
                "chance": 0.5,
            }
        )
        for name, values in {"icl": icl, "flip": flip, "ciwl": UP, "iwl": UP, "training": UP}.items()
    ]
    return pd.concat(parts, ignore_index=True)
