"""Training runs, prediction, evaluation, threads and checkpoints: the Python code around compiled calls.

May import `kernels`, `machine`, `files`, and the modules at the top of fastbp below `network`. It must not know the
callers: networks, estimators and tables.
"""
