"""Two quantitative accounts of why ICL rises and falls, fitted to one condition and tested on others.

    published.py     the published coopetition toy, vectors and all, and its exact reduction to 8 overlaps
    toy.py           the published toy of 2024: three parts that must come together, and clamps
    coopetition.py   the same toy as a flow of three scalars: strategies share a circuit and compete
    rates.py         independent rates: two circuits that share only their loss
    training.py      what the data of a condition offer, when; how learning rate becomes time
    links.py         from the two strategies' logits to the evaluators' accuracies
    flow.py          an account integrated through a condition
    fit.py           parameters from measured curves
    score.py         predictions of held-out conditions beside what was measured

An account is a frozen record of pure functions (`flow.Account`). The command that fits both to the measured
curves is `python -m research accounts`.
"""
