"""fastbp.sklearn beside scikit-learn: `python -m benchmarks.drop_in` prints Markdown tables.

`problems` has the tables and settings, `turns` the timing, and every other file prints one or more of the tables.
"""
