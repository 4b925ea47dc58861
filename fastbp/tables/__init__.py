"""Files of rows: a table is read from a file, split into target and inputs, and written with its predictions.

May import `tabular` and `files`. It must not know networks, the terminal or the report.
"""
