"""Files: atomic replacement of a file, model files of named arrays, and files that no other user can change.

May import NumPy and the standard library. It must not know what the bytes mean.
"""
