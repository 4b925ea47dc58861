"""The columns of a table as the inputs of a network, and the target as the network's y.

This folder may import NumPy, `losses`, and `metrics` and `settings` beside it. Only `frames` imports narwhals, and only
for the frame of another library. The folder must not know networks, training or files.
"""
