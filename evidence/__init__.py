"""The evidence: every claim with what was run, the numbers over seeds and a verdict.

    python -m evidence collect SWEEP.toml RUNS   the small table of a sweep's runs, into evidence/tables
    python -m evidence geometry --data DIR       how easy each strategy's task is on the sweeps' banks, without a model
    python -m evidence circuits NAME RUN ...     what circuits each run has; heads and accounts: --help
    python -m evidence page                      docs/findings.md and its figures, from the tables

    tables.py       the committed tables: what is in them, how they are made and read
    statistics.py   over seeds: phases, paired effects, corrections
    regimes.py      what became of ICL in a run: never formed, faded, stayed
    effects.py      what a condition changes against another
    geometry.py     what a bank alone says; phase.py: where ICL forms by it
    circuits.py, heads.py, accounts*.py    the measurements behind claims 8.5, 8.6 and 9
    claim.py        what a claim is, and the rules of its verdict
    plots.py        the figures' one style
    page.py         the page
    experiments/    one module per question, each with claims(): what was asked, and what came out
"""
