"""Whether kernels must still be compiled, which takes a minute where nothing else does."""

from __future__ import annotations

from pathlib import Path

from evsim._kernels.jit import cache_folder


def kernel_folder() -> Path:
    """Folder of the compiled kernels of this version."""
    return Path(cache_folder())


def kernels_on_disk() -> int:
    """Number of files in the kernel cache."""
    folder = kernel_folder()
    return sum(1 for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


def has_kernels() -> bool:
    """Whether kernels of this version were compiled before."""
    return kernels_on_disk() > 0
