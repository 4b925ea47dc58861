"""The report of a training: pictures, permutation importance, and the HTML page that holds them.

May import `tabular` and `files`. It must not know the terminal, files of rows, or how anything was trained.
"""
