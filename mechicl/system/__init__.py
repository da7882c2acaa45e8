"""The machine around mechicl: nothing here knows what a model or a run is.

paths         what a path that a user gives means
disk          sentences about places that cannot be written, read or locked
files         small files that appear whole or not at all
cores         how many cores there are
work_queue    work that a second core may take, without waiting for it
pool          worker processes: a task fails alone, and no worker outlives its parent
executor      where jobs are done: in such processes, or ...
slurm         ... on a cluster
steps         what --steps and --every mean
compiling     numba's compiler and its cache
surroundings  torch's global settings, held while mechicl computes
output        what is printed
progress      bars
commands      shell commands, as errors name them
"""
