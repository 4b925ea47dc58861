"""The report of a training: figures, permutation importances, and the HTML page that shows them.

May import `tabular` and `files`. It must not know the terminal, files of rows, or how anything was trained.
"""
