"""Benchmarks of fastbp: the suite for asv (`bench_*.py`), and commands that print tables."""
