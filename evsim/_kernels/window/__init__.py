"""Kernels of the window engine."""
