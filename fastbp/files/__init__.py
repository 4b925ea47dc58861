"""Bytes on the disk: files replaced whole or not at all, and model files of named arrays.

May import NumPy and the standard library. It must not know what the bytes mean.
"""
