"""Compiled kernels on the disk: one file for each function and signature, checked before it is used.

Numba's own cache keeps an index and numbered files: a damaged one ends the program, two processes that compile at
once may take the same number, and whatever lies in the folder is unpickled, which runs it. Here a file is named after
what it is for, carries the SHA-256 of its contents, is replaced whole, and is read only if the user (or root) owns it
and nobody else can write to it. Whatever is wrong with a file, the kernel is compiled, as if there were none.
"""

import hashlib
import os
import pickle
import re
import secrets
import stat
import warnings
from contextlib import suppress
from pathlib import Path

from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

_DIGEST = hashlib.sha256().digest_size
_told: set[str] = set()


class KernelCacheWarning(RuntimeWarning):
    """Compiled kernels cannot be kept or used again: every start compiles them, which takes about a minute."""


def _tell(key: str, text: str) -> None:
    """Warn once of each kind of trouble."""
    if key not in _told:
        _told.add(key)
        warnings.warn(text, KernelCacheWarning, stacklevel=2)


def trusted(state: os.stat_result) -> bool:
    """Whether only this user and root can have written what ``state`` is of. Without user ids (Windows): True."""
    if not hasattr(os, "geteuid"):
        return True
    return state.st_uid in (os.geteuid(), 0) and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def open_folder(folder: Path) -> Path | None:
    """The folder, made if there is none (for this user alone); None, with a warning, if it cannot be used."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        state = os.lstat(folder)
    except OSError as failure:
        _tell(
            "folder",
            f"compiled kernels cannot be kept in {folder} ({failure.strerror}): every start compiles them, which takes "
            "about a minute. Set EVSIM_CACHE_DIR to a folder that can be written to.",
        )
        return None
    if stat.S_ISDIR(state.st_mode) and trusted(state):
        return folder
    _tell(
        "folder",
        f"{folder} is not used for compiled kernels: others than you can write there, and what they write would be "
        "run. Every start compiles them, which takes about a minute. Delete it, or set EVSIM_CACHE_DIR to a folder of "
        "your own.",
    )
    return None


class KernelCache(_Cache):
    """The compiled forms of one function, in ``folder``; what numba's dispatcher asks for and hands over."""

    def __init__(self, function, folder: Path) -> None:
        self._function = function
        self._folder = folder
        self._on = True

    @property
    def cache_path(self) -> str:
        """Folder of the files."""
        return str(self._folder)

    def enable(self) -> None:
        """Use the cache."""
        self._on = True

    def disable(self) -> None:
        """Do not use the cache."""
        self._on = False

    def flush(self) -> None:
        """Forget nothing: another source has another folder."""

    def load_overload(self, sig, target_context):
        """The compiled function for a signature; None if it has to be compiled."""
        if not self._on:
            return None
        target_context.refresh()
        path, key = self._place(sig, target_context.codegen())
        data = self._read(path)
        if data is None:
            return None
        try:
            saved, payload = pickle.loads(data)
            if saved != key:
                return None
            return CompileResult._rebuild(target_context, *payload)
        except Exception as failure:  # of another build of numba or Python under the same version
            _tell("load", f"{path} cannot be used ({failure!r}); the kernel is compiled again.")
            return None

    def save_overload(self, sig, result) -> None:
        """Keep a compiled function."""
        if not self._on or any(not part.can_cache for part in result.lifted) or result.library.has_dynamic_globals:
            return
        path, key = self._place(sig, result.codegen)
        data = dumps((key, result._reduce()))
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            os.replace(temporary, path)
        except OSError as failure:
            with suppress(OSError):
                temporary.unlink()
            _tell(
                "save",
                f"compiled kernels cannot be kept in {self._folder} ({failure.strerror}): every start compiles them, "
                "which takes about a minute. Free space, or set EVSIM_CACHE_DIR to another folder.",
            )
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise

    def _place(self, sig, codegen) -> tuple[Path, str]:
        """The file for a signature on this machine, and what it must say that it is for."""
        code = self._function.__code__
        key = repr((self._function.__module__, self._function.__qualname__, code.co_firstlineno, str(sig),
                    codegen.magic_tuple()))  # fmt: skip
        name = re.sub(r"\W+", "-", f"{Path(code.co_filename).stem}-{self._function.__qualname__}")
        return self._folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.kernel", key

    def _read(self, path: Path) -> bytes | None:
        """Contents of a file; None if there is none, or it is damaged or not to be trusted."""
        try:
            with open(path, "rb") as file:
                if not trusted(os.fstat(file.fileno())):
                    _tell("owner", f"{path} is not used: others than you may have written it. Delete it.")
                    return None
                raw = file.read()
        except FileNotFoundError:
            return None
        except OSError as failure:
            _tell("read", f"{path} cannot be read ({failure.strerror}); the kernel is compiled again.")
            return None
        if hashlib.sha256(raw[_DIGEST:]).digest() != raw[:_DIGEST]:
            _tell("damaged", f"{path} is damaged; the kernel is compiled again.")
            return None
        return raw[_DIGEST:]
