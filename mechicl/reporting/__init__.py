"""Texts about a run for people to read.

report   the report, one HTML file
summary  what `mechicl show` prints
"""
