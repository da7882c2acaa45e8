"""Making runs.

loop      train: data -> step -> schedule -> series
replay    resume, densify
step      one update
ensemble  several seeds side by side
open_run  a run's folder, begun and locked
graft     initial weights from another run
"""
