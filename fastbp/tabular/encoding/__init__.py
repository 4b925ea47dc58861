"""A table's columns as the inputs of a network, and its target as numbers.

May import NumPy; `frames` imports narwhals when it is handed another library's frame. It must not know networks.
"""
