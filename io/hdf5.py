"""Trees of plain values in HDF5, exactly: what `write_tree` writes, `read_tree` gives back bit for bit.

A tree is a dict with str keys whose values are dicts, lists, tuples, numpy arrays and scalars (bool,
integer, float, complex), str, int of any size, float, bool and None. In the file a dict is a group, an array
a dataset of the same name, so that any HDF5 viewer can browse it. Each object carries the attribute ``type``
with the Python type it came from.

The root group carries ``format`` ("evsim"), ``schema``, ``kind``, ``evsim`` (the version that wrote it) and
``complete``, which is set last. The same tree gives the same bytes.
"""

from __future__ import annotations

import io
import json
import os
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from evsim.errors import RunFileError

from .atomic import write_bytes

FORMAT = "evsim"
SCHEMA = 1
"""Version of the layout described above. Readers refuse a newer one; a change of layout raises it."""

KINDS = ("run", "recording", "state")

_ARRAY_KINDS = "biufc"
_REMEDY = "Use a copy of it, or make it again."
_INT64 = np.iinfo(np.int64)


def evsim_version() -> str:
    """Version of the installed evsim, or "unknown" when it runs from a folder that was never installed."""
    try:
        return version("evsim")
    except PackageNotFoundError:
        return "unknown"


def write_tree(path: str | os.PathLike[str], tree: dict[str, Any], kind: str) -> None:
    """Save ``tree`` in the file ``path``, replacing an earlier one whole or not at all.

    Parameters
    ----------
    path : file to write; its folder must exist
    tree : nested dict, see the module's description. The order of keys is kept.
    kind : "run", "recording" or "state"; `read_tree` must be asked for the same

    Raises
    ------
    TypeError : a value or key of a type that cannot be given back exactly; the message says where it is.
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
    with h5py.File(image, "w", track_order=True) as file:
        file.attrs["format"] = _fixed(FORMAT)
        file.attrs["schema"] = SCHEMA
        file.attrs["kind"] = _fixed(kind)
        file.attrs["evsim"] = _fixed(evsim_version())
        for key, value in tree.items():
            _write(file, _link(key, ""), value, f"/{key}")
        file.attrs["complete"] = True
    write_bytes(path, image.getbuffer())


def read_tree(path: str | os.PathLike[str], kind: str) -> dict[str, Any]:
    """Read the tree that `write_tree` saved in the file ``path`` as ``kind``.

    Raises
    ------
    FileNotFoundError : no such file.
    OSError : the file cannot be opened (permission, a folder).
    RunFileError : the file is truncated, not HDF5, not from evsim, of another kind, of a newer schema, or
        entries of it are missing or damaged.
    """
    import h5py

    try:
        with open(path, "rb"):
            pass
    except FileNotFoundError as missing:
        raise FileNotFoundError(
            missing.errno, f"there is no {kind} file {os.fspath(path)}. Check the path; `--out` named it."
        ) from missing
    try:
        # No lock: files are only ever replaced whole, and locks fail on read-only and network disks.
        file = h5py.File(path, "r", locking=False)
    except OSError as failure:
        raise RunFileError(
            f"{os.fspath(path)} ({os.path.getsize(path)} bytes) is not a complete HDF5 file: truncated, "
            f"damaged or of another format. {_REMEDY} [{failure}]"
        ) from failure
    with file:
        _check_marks(file, os.fspath(path), kind)
        try:
            return {_key(name): _read(file[name]) for name in file}
        except RunFileError as failure:
            raise RunFileError(f"{os.fspath(path)}: {failure}") from failure
        except (OSError, KeyError, RuntimeError, ValueError, TypeError) as failure:
            raise RunFileError(
                f"{os.fspath(path)} is damaged: part of it cannot be read. {_REMEDY} [{failure}]"
            ) from failure


def _check_marks(file: Any, path: str, kind: str) -> None:
    """Refuse a file that evsim did not write, or wrote for another purpose, or in a layout of the future."""
    try:
        marks = {name: _mark(file, name) for name in ("format", "schema", "kind", "evsim", "complete")}
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as failure:
        raise RunFileError(f"{path} is damaged: its marks cannot be read. {_REMEDY} [{failure}]") from failure
    if marks["format"] != FORMAT:
        raise RunFileError(f"{path} is an HDF5 file, but evsim did not write it (it has no mark {FORMAT!r}).")
    if not isinstance(marks["schema"], np.integer):
        raise RunFileError(f"{path} is damaged: it does not say which schema it follows. {_REMEDY}")
    if marks["schema"] > SCHEMA:
        raise RunFileError(
            f"{path} follows schema {marks['schema']} (written by evsim {marks['evsim']}), but this evsim "
            f"reads schemas up to {SCHEMA}. Update evsim."
        )
    if marks["kind"] != kind:
        raise RunFileError(f"{path} holds a {marks['kind']}, but a {kind} was asked for. Give a {kind} file.")
    if marks["complete"] is None or not marks["complete"]:
        raise RunFileError(f"{path} was never finished: its writer stopped half-way. Make it again.")


def _fixed(text: str) -> np.bytes_:
    """Text as HDF5 text of fixed length: a damaged heap of variable-length text can hang the HDF5 library."""
    return np.bytes_(text.encode("utf-8"))


def _mark(node: Any, name: str) -> Any:
    """An attribute, text as str; None if it is missing or no scalar."""
    value = node.attrs.get(name)
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return value if isinstance(value, np.generic) else None


def _link(key: Any, where: str) -> str:
    """HDF5 name of a dict key: "/" and "%" and control characters are percent-encoded, "" becomes "%"."""
    if type(key) is not str:
        raise TypeError(f"keys must be str; {where or '/'} has the key {key!r} of type {type(key).__name__}.")
    if key in (".", ".."):
        return key.replace(".", "%2E")
    return quote(key, safe=" !#$&'()*+,:;<=>?@[]^{|}", errors="surrogatepass") or "%"


def _key(link: str) -> str:
    return "" if link == "%" else unquote(link, errors="surrogatepass")


def _write(parent: Any, link: str, value: Any, where: str) -> None:
    """Store ``value`` as the child ``link`` of an HDF5 group; ``where`` names it in errors."""
    import h5py

    kind = type(value)
    packed = _packed(value) if kind in (list, tuple) else None
    if packed is not None:
        node = parent.create_dataset(link, data=packed)
        mark = kind.__name__
    elif kind in (dict, list, tuple):
        node = parent.create_group(link, track_order=True)
        mark = kind.__name__
        for key, child in value.items() if kind is dict else ((str(k), v) for k, v in enumerate(value)):
            _write(node, _link(key, where), child, f"{where}/{key}")
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


def _read(node: Any) -> Any:
    """The value that `_write` stored in an HDF5 object."""
    import h5py

    mark = _mark(node, "type")
    if mark == "None":
        return None
    if isinstance(node, h5py.Group):
        if mark == "dict":
            return {_key(name): _read(node[name]) for name in node}
        if mark in ("list", "tuple"):
            missing = [k for k in range(len(node)) if str(k) not in node]
            if missing:
                raise RunFileError(f"entry {node.name}/{missing[0]} is missing. {_REMEDY}")
            items = [_read(node[str(k)]) for k in range(len(node))]
            return items if mark == "list" else tuple(items)
    elif mark == "array":
        # [...], not [()]: the latter turns an array without axes into a scalar and loses its byte order.
        return node[...]
    elif mark in _DECODE:
        return _DECODE[mark](node[()])
    raise RunFileError(f"entry {node.name} has the unknown type {mark!r}. {_REMEDY}")


_DECODE: dict[str, Any] = {
    "scalar": lambda value: value,
    "list": lambda value: value.tolist(),
    "tuple": lambda value: tuple(value.tolist()),
    "str": lambda value: value.decode("utf-8"),
    "escaped str": json.loads,
    "int": lambda value: int(value, 0) if isinstance(value, bytes) else int(value),
    "float": float,
    "bool": bool,
}
