"""Files: atomic replacement of a file, and model files of named arrays.

May import NumPy and the standard library. It must not know what the bytes mean.
"""
