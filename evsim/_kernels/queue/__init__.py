"""Kernels of the priority-queue engine."""
