"""What is written of a run for people.

report   the report, one HTML file
summary  what `mechicl show` prints
"""
