"""Kernels of the layer sweep."""
