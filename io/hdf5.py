"""Trees of plain values in HDF5, exactly: what `write_tree` writes, `read_tree` gives back bit for bit.

A tree is a dict with str keys whose values are dicts, lists, tuples, numpy arrays and scalars (bool,
integer, float, complex), str, int of any size, float, bool and None. In the file a dict is a group, an array
a dataset of the same name, so that any HDF5 viewer can browse it. Each object carries the attribute ``type``
with the Python type it came from.

The root group carries ``format`` ("evsim"), ``schema``, ``kind``, ``evsim`` (the version that wrote it) and
``complete``, which is set last. The same tree gives the same bytes. A file is sealed (see `seal`): one whose bytes are
not those that were written is refused. Files of schema 1 have no seal; they are read, with the checks of `hdf5_nodes`
alone.
"""

from __future__ import annotations

import io
import json
import os
from typing import Any, BinaryIO

import numpy as np

from evsim.errors import RunFileError
from evsim.io.atomic import write_bytes
from evsim.io.hdf5_nodes import DEPTH, REMEDY, Nodes, link_of, mark_of
from evsim.io.seal import BLOCK, SIGNATURE, is_sealed, seal
from evsim.versions import evsim_version

FORMAT = "evsim"
SCHEMA = 2
"""Version of the layout described above. Readers refuse a newer one; a change of layout raises it."""

_UNSEALED = 1
"""The last schema whose files have no seal."""

KINDS = ("run", "recording", "state")

_ARRAY_KINDS = "biufc"
_INT64 = np.iinfo(np.int64)


def write_tree(path: str | os.PathLike[str], tree: dict[str, Any], kind: str) -> None:
    """Save ``tree`` in the file ``path``, replacing an earlier one whole or not at all.

    Parameters
    ----------
    path : file to write; its folder must exist
    tree : nested dict, see the module's description. The order of keys is kept.
    kind : "run", "recording" or "state"; `read_tree` must be asked for the same

    Raises
    ------
    TypeError : a value or key of a type that cannot be given back exactly, or dicts and lists more than 64 levels deep
        (or within themselves); the message says where it is.
    ValueError : unknown ``kind``.
    OSError : the file cannot be written (disk full, no permission ...); an earlier file is untouched.
    """
    import h5py

    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    if type(tree) is not dict:
        raise TypeError(f"the tree must be a dict; got {type(tree).__name__}.")
    # Built in memory, not on the disk: HDF5 cannot be closed cleanly once its disk is full.
    image = io.BytesIO()
    with h5py.File(image, "w", track_order=True, userblock_size=BLOCK) as file:
        file.attrs["format"] = _fixed(FORMAT)
        file.attrs["schema"] = SCHEMA
        file.attrs["kind"] = _fixed(kind)
        file.attrs["evsim"] = _fixed(evsim_version())
        for key, value in tree.items():
            _write(file, _link(key, ""), value, f"/{key}", 1)
        file.attrs["complete"] = True
    seal(image.getbuffer())
    write_bytes(path, image.getbuffer())


def read_tree(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """Read the tree that `write_tree` saved in the file ``path`` as ``kind``.

    Raises
    ------
    FileNotFoundError : no such file.
    OSError : the file cannot be opened (permission, a folder).
    RunFileError : the file is truncated, not HDF5, not from evsim, of another kind, of a newer schema, or
        entries of it are missing or damaged; or it has links, compressed data and the like, which evsim never writes.
    """
    try:
        raw = open(path, "rb")
    except FileNotFoundError as missing:
        raise FileNotFoundError(
            missing.errno, f"there is no {kind} file {os.fspath(path)}. Check the path; `--out` named it."
        ) from missing
    # One open file from the seal to the last value: what was checked is what is read.
    with raw:
        return _read_open(raw, os.fspath(path), kind)


def _read_open(raw: BinaryIO, path: str, kind: str) -> dict[str, Any]:
    n_bytes = os.fstat(raw.fileno()).st_size
    sealed = is_sealed(raw)
    if sealed is False:
        raw.seek(BLOCK)
        if raw.read(len(SIGNATURE)) == SIGNATURE:
            raise RunFileError(
                f"{path} is damaged: its {n_bytes} bytes are not those that were written (their checksum differs). "
                f"{REMEDY}"
            )
        raise RunFileError(_foreign(path, n_bytes))
    import h5py

    try:
        file = h5py.File(raw, "r")
    except (OSError, ValueError, RuntimeError) as failure:
        raise RunFileError(f"{_foreign(path, n_bytes)} [{failure}]") from failure
    with file:
        try:
            _check_marks(file, path, kind, bool(sealed))
            return Nodes(file, n_bytes).tree()
        except RunFileError as failure:
            text = str(failure)
            raise RunFileError(text if text.startswith(path) else f"{path}: {text}") from failure
        # RecursionError and UnicodeDecodeError are among them.
        except (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError) as failure:
            raise RunFileError(f"{path} is damaged: part of it cannot be read. {REMEDY} [{failure}]") from failure


def _foreign(path: str, n_bytes: int) -> str:
    return f"{path} ({n_bytes} bytes) is not a complete HDF5 file: truncated, damaged or of another format. {REMEDY}"


def _check_marks(file: Any, path: str, kind: str, sealed: bool) -> None:
    """Refuse a file that evsim did not write, or wrote for another purpose, or in a layout of the future."""
    marks = {name: mark_of(file, name) for name in ("format", "schema", "kind", "evsim", "complete")}
    if marks["format"] != FORMAT:
        raise RunFileError(f"{path} is an HDF5 file, but evsim did not write it (it has no mark {FORMAT!r}).")
    if not isinstance(marks["schema"], np.integer):
        raise RunFileError(f"{path} is damaged: it does not say which schema it follows. {REMEDY}")
    if marks["schema"] > SCHEMA:
        raise RunFileError(
            f"{path} follows schema {marks['schema']} (written by evsim {marks['evsim']}), but this evsim "
            f"reads schemas up to {SCHEMA}. Update evsim."
        )
    if sealed != (marks["schema"] > _UNSEALED) or marks["schema"] < 1:
        raise RunFileError(f"{path} is damaged: its checksum has been taken away. {REMEDY}")
    if marks["kind"] != kind:
        raise RunFileError(f"{path} holds a {marks['kind']}, but a {kind} was asked for. Give a {kind} file.")
    if marks["complete"] is None or not marks["complete"]:
        raise RunFileError(f"{path} was never finished: its writer stopped half-way. Make it again.")


def _fixed(text: str) -> np.bytes_:
    """Text as HDF5 text of fixed length: a damaged heap of variable-length text can hang the HDF5 library."""
    return np.bytes_(text.encode("utf-8"))


def _link(key: Any, where: str) -> str:
    """HDF5 name of a dict key."""
    if type(key) is not str:
        raise TypeError(f"keys must be str; {where or '/'} has the key {key!r} of type {type(key).__name__}.")
    return link_of(key)


def _write(parent: Any, link: str, value: Any, where: str, depth: int) -> None:
    """Store ``value`` as the child ``link`` of an HDF5 group; ``where`` names it in errors."""
    import h5py

    if depth > DEPTH:
        raise TypeError(f"{where[:60]}... lies more than {DEPTH} levels deep, or within itself. Flatten it.")
    kind = type(value)
    packed = _packed(value) if kind in (list, tuple) else None
    if packed is not None:
        node = parent.create_dataset(link, data=packed)
        mark = kind.__name__
    elif kind in (dict, list, tuple):
        node = parent.create_group(link, track_order=True)
        mark = kind.__name__
        for key, child in value.items() if kind is dict else ((str(k), v) for k, v in enumerate(value)):
            _write(node, _link(key, where), child, f"{where}/{key}", depth + 1)
    elif kind is str:
        plain = "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
        # HDF5 text cannot hold NUL, nor UTF-8 lone surrogates; JSON spells both in ASCII.
        node = parent.create_dataset(link, data=_fixed(value if plain else json.dumps(value)))
        mark = "str" if plain else "escaped str"
    elif kind is int and not _INT64.min <= value <= _INT64.max:
        node = parent.create_dataset(link, data=_fixed(hex(value)))
        mark = "int"
    elif kind in (int, float, bool):
        node = parent.create_dataset(link, data=np.dtype(kind).type(value))
        mark = kind.__name__
    elif value is None:
        node = parent.create_dataset(link, data=h5py.Empty("u1"))
        mark = "None"
    elif (kind is np.ndarray or isinstance(value, np.generic)) and value.dtype.kind in _ARRAY_KINDS:
        node = parent.create_dataset(link, data=value)
        mark = "array" if kind is np.ndarray else "scalar"
    else:
        of = f" of {value.dtype}" if isinstance(value, np.ndarray) else ""
        raise TypeError(
            f"{where} is a {kind.__name__}{of}, which cannot be saved exactly. Convert it to a dict, list, "
            f"tuple, array of numbers, str, int, float, bool or None."
        )
    node.attrs["type"] = _fixed(mark)


def _packed(items: list[Any] | tuple[Any, ...]) -> np.ndarray | None:
    """A sequence of floats only, or of 64-bit ints only, as one array: thousands of objects would be slow."""
    if items and all(type(v) is float for v in items):
        return np.array(items, np.float64)
    if items and all(type(v) is int and _INT64.min <= v <= _INT64.max for v in items):
        return np.array(items, np.int64)
    return None
