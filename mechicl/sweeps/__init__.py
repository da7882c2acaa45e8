"""Many runs from one file: a grid of configs x seeds, trained, resumed and gathered in one table.

plan.py        the TOML file -> a plan
conditions.py  what a plan is: conditions, and their runs at each seed
branching.py   conditions that train on from another one, or from a run
estimate.py    how long they will take, measured from a few steps
run.py         train them: skip what is finished, resume the rest, record what fails
executor.py    where they run: processes here, or jobs of a cluster (system/slurm.py)
gather.py       one tidy table, and a summary per condition over seeds
"""
