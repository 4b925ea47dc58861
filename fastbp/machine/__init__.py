"""How Python functions become machine code: Numba's compiler and LLVM, and a cache line of floats as one value.

May import NumPy, Numba, llvmlite and `files.atomic`, and nothing else of fastbp. No other folder imports llvmlite or
Numba's inner parts. It must not know what a kernel computes.
"""
