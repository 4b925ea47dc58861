"""One page about a training: figures, importances, and the HTML that holds them.

May import `tabular` and what stands below. It must not know the terminal, or how anything was trained.
"""
