"""Networks trained for a table: a recipe, folds, many networks side by side, and what their answers are worth.

May import `runs`, `encoding`, and `model`, `metrics` and `settings` beside it. It must not know scikit-learn or files.
"""
