"""Reading HDF5 objects that nobody vouches for: only plain, stored-in-this-file data is touched.

Links to other files, data stored in other files, virtual and compressed data, objects that are reached twice (loops
among them), references and text of variable length are refused: evsim writes none of them, and they are how a small
file reads other files of its reader, or fills the memory. All data together is never larger than the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

import numpy as np

from evsim.errors import RunFileError

DEPTH = 64
"""Levels of dicts, lists and tuples within each other that a file can have."""

REMEDY = "Use a copy of it, or make it again."

_LONGEST_MARK = 256


def link_of(key: str) -> str:
    """HDF5 name of a dict key: "/" and "%" and control characters are percent-encoded, "" becomes "%"."""
    if key in (".", ".."):
        return key.replace(".", "%2E")
    return quote(key, safe=" !#$&'()*+,:;<=>?@[]^{|}", errors="surrogatepass") or "%"


def key_of(link: str) -> str:
    """The dict key that ``link_of`` made a name of. Raises RunFileError : evsim does not write such a name."""
    key = "" if link == "%" else unquote(link, errors="surrogatepass")
    if link_of(key) != link:
        raise RunFileError(f"entry {link!r} has a name that evsim does not write. {REMEDY}")
    return key


def mark_of(node: Any, name: str) -> Any:
    """A scalar attribute, text as str; None if it is missing, or neither a number nor text of fixed length."""
    import h5py

    if name not in node.attrs:
        return None
    attribute = h5py.h5a.open(node.id, name.encode())
    kind = attribute.dtype.kind
    if attribute.shape != () or kind not in "Sbiuf" or attribute.dtype.itemsize > _LONGEST_MARK:
        return None
    value = node.attrs[name]
    return value.decode("utf-8") if isinstance(value, bytes) else value


class Nodes:
    """The objects of one open file, each to be read once.

    n_bytes : size of the file
    """

    def __init__(self, file: Any, n_bytes: int) -> None:
        self._file = file
        self._n_bytes = n_bytes
        self._left = n_bytes
        self._seen = {_place(file)}

    def tree(self) -> dict[str, Any]:
        """Everything below the root. Raises RunFileError : what evsim does not write; see the module."""
        return self._dict(self._file, 0)

    def _dict(self, group: Any, depth: int) -> dict[str, Any]:
        return {key_of(name): self._value(group, name, depth + 1) for name in group}

    def _value(self, parent: Any, name: str, depth: int) -> Any:
        import h5py

        node = self._child(parent, name)
        if depth > DEPTH:
            raise RunFileError(f"entry {node.name} lies more than {DEPTH} levels deep. {REMEDY}")
        mark = mark_of(node, "type")
        if isinstance(node, h5py.Group):
            if mark == "dict":
                return self._dict(node, depth)
            if mark in ("list", "tuple"):
                names = [str(k) for k in range(len(node))]
                if missing := [k for k in names if k not in node]:
                    raise RunFileError(f"entry {node.name}/{missing[0]} is missing. {REMEDY}")
                items = [self._value(node, k, depth + 1) for k in names]
                return items if mark == "list" else tuple(items)
        elif isinstance(node, h5py.Dataset) and mark in _DECODE:
            array = self._array(node)
            if array is None:
                if mark == "None":
                    return None
            elif mark != "None" and _DECODE[mark][0](array):
                return _DECODE[mark][1](array)
            raise RunFileError(f"entry {node.name} does not hold what its type {mark!r} says. {REMEDY}")
        raise RunFileError(f"entry {node.name} has the unknown type {mark!r}. {REMEDY}")

    def _child(self, parent: Any, name: str) -> Any:
        import h5py

        where = f"{parent.name.rstrip('/')}/{name}"
        if parent.id.links.get_info(name.encode("utf-8", "surrogateescape")).type != h5py.h5l.TYPE_HARD:
            raise RunFileError(f"entry {where} is a link to elsewhere, which evsim does not follow. {REMEDY}")
        node = parent[name]
        place = _place(node)
        if place in self._seen:
            raise RunFileError(f"entry {where} is the same object as another entry. {REMEDY}")
        self._seen.add(place)
        return node

    def _array(self, node: Any) -> np.ndarray | None:
        """The data of a dataset; None if it is of the kind that has none."""
        import h5py

        if node.shape is None:
            return None
        plan = node.id.get_create_plist()
        layout, dtype = plan.get_layout(), node.id.dtype
        if dtype.kind not in "biufcS" or dtype.names is not None or dtype.subdtype is not None:
            raise RunFileError(f"entry {node.name} is of the type {dtype}, which evsim does not write. {REMEDY}")
        if layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or plan.get_external_count():
            raise RunFileError(
                f"entry {node.name} is compressed, in pieces or stored in another file, which evsim does not read. "
                f"{REMEDY}"
            )
        n = node.id.get_storage_size()
        if n != node.size * dtype.itemsize or n > self._left:
            raise RunFileError(f"entry {node.name} announces more data than the file holds. {REMEDY}")
        self._left -= n
        # [...], not [()]: the latter turns an array without axes into a scalar and loses its byte order.
        array: np.ndarray = node[...]
        if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
            raise RunFileError(f"entry {node.name} holds truth values other than 0 and 1. {REMEDY}")
        return array


def _place(node: Any) -> tuple[int, int]:
    import h5py

    info = h5py.h5o.get_info(node.id)
    return info.fileno, info.addr


def _numbers(array: np.ndarray) -> bool:
    return array.dtype.kind in "biufc"


def _scalar(kinds: str) -> Callable[[np.ndarray], bool]:
    return lambda array: array.shape == () and array.dtype.kind in kinds


def _text(array: np.ndarray) -> str:
    return bytes(array[()]).decode("utf-8")


def _escaped(array: np.ndarray) -> str:
    text = json.loads(_text(array))
    if not isinstance(text, str):
        raise ValueError("escaped text holds something else")
    return text


_DECODE: dict[str, tuple[Callable[[np.ndarray], bool], Callable[[np.ndarray], Any]]] = {
    "None": (lambda array: False, lambda array: None),
    "array": (_numbers, lambda array: array),
    "scalar": (_scalar("biufc"), lambda array: array[()]),
    "list": (lambda array: array.ndim == 1 and array.dtype.kind in "if", lambda array: array.tolist()),
    "tuple": (lambda array: array.ndim == 1 and array.dtype.kind in "if", lambda array: tuple(array.tolist())),
    "str": (_scalar("S"), _text),
    "escaped str": (_scalar("S"), _escaped),
    "int": (
        _scalar("iS"),
        lambda array: int(_text(array), 0) if array.dtype.kind == "S" else int(array),
    ),
    "float": (_scalar("f"), float),
    "bool": (_scalar("b"), bool),
}
"""By the attribute ``type``: what the data must be, and the value that it stands for."""
