"""The version, in a file that imports nothing, so that no file looks up to the package for it."""

__version__ = "0.1.0"
