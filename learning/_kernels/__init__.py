"""Numba kernels on arrays and scalars: no checks, no classes, no imports from the floor above."""
