"""Growth with the table: `python -m benchmarks.scale` prints Markdown tables of time, memory and scores.

`tables` makes the rows, `jobs` are what is measured, and `processes` runs each job in a new process. Every other file
prints one or more of the tables: `models`, `files`, `engines`, `growth` (a model of time and memory that is fitted to
measurements) and `simulation` (what this model says of larger machines).
"""
