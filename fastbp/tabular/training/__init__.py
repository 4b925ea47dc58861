"""The training of the networks of a table: recipe, folds, an ensemble in threads or an executor, and its scores.

This folder may import `network`, `runs` and `kernels`, and `encoding`, `model`, `metrics` and `settings` beside it. It
must not know scikit-learn, files of rows or the terminal. Imports inside run down: build, then pool and judging, then
remote, then parcels, then engines, recipe and folds, then parts and pace.
"""
