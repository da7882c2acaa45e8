"""The evidence: every claim with its runs, the numbers over seeds and a status.

python -m research collect SWEEP.toml RUNS   the small table of a sweep's runs, into research/tables
python -m research geometry --data DIR       how easy each strategy's task is on the sweeps' banks, without a model
python -m research circuits NAME RUN ...     what circuits each run has; heads and accounts: --help
python -m research page                      docs/findings.md, its appendices and figures, from the tables

tables.py       the committed tables: what is in them, how they are made and read
definitions.py  one rule for what happened to ICL in a run: never formed, faded, stayed
verdicts.py     how a claim is judged: exact intervals over seeds, and the statuses
statistics.py   over seeds: phases, exact intervals, paired effects, corrections
runs.py         the runs of a table, as claims ask for them
declared.py     which rules stood before the data, and the earlier verdicts
published.py    the published curve of Figure 1b, and why runs on inputs of norm 1 are not comparable with it
regimes.py      counts over a condition's seeds; effects.py: tables of many comparisons
geometry.py     what a bank shows without a model; phase.py: where ICL forms, by that
language.py     what brings induction heads in small language models
circuits.py, heads.py, accounts*.py    the measurements behind claims 8.5, 8.6 and 9
claim.py        what a claim is
plots.py        the figures' one style
page.py         the page with five claims, and its appendices; tidy.py: the CSV files, the bounds of 'formed'
experiments/    one module per question, each with claims(): the questions and the results
text/           texts written by hand: differences, methods, limitations, each appendix in words
"""
