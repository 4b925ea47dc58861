"""Python around compiled calls: a run made and gone through, prediction, evaluation, threads, checkpoints.

May import `kernels`, `machine` and what stands at the top of fastbp below `network`. It must not know who asked for a
run: no network, no estimator, no table of columns.
"""
