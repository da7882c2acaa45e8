"""What is measured on a series: attention scores, logit attribution, ablation effects, phases.

Each measure is a function of a series that returns a tidy long table (tables.py).
"""
