"""Write a file whole or not at all: whatever happens, the old file or the new one is there, never a half.

The bytes go to a temporary file in the same folder, are forced to the disk, and only then take the name
of the old file (``os.replace`` is atomic within a folder). A process that is killed in between leaves the
old file as it was, and at worst a hidden ``.evsim-*.tmp`` beside it, which may be deleted.
"""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM}


def write_bytes(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Replace the file ``path`` by ``data``, whole or not at all.

    Parameters
    ----------
    path : the file; its folder must exist. A symbolic link is followed, so that the link stays a link.
    data : everything the file is to hold

    Raises
    ------
    OSError : nothing was written and an earlier file is untouched. The errno (and so the subclass, such as
        PermissionError) is that of the failed call; the message says what to do.
    """
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".evsim-{secrets.token_hex(8)}.tmp"
    try:
        _write_and_sync(temporary, data)
        os.replace(temporary, target)
    except BaseException as failure:
        # BaseException: Ctrl-C in the middle of a long write must not leave the temporary file behind.
        with suppress(OSError):
            temporary.unlink()
        if isinstance(failure, OSError):
            raise OSError(failure.errno, _explain(target, len(data), failure)) from failure
        raise
    _sync_folder(target.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Replace the file ``path`` by ``text`` in UTF-8; otherwise as `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def _write_and_sync(temporary: Path, data: bytes | memoryview) -> None:
    # 0o666 under the user's umask, as open() does; tempfile would make the result readable to its owner only.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Force the new name to the disk where that exists: else a power cut may bring back the old file."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as failure:
        if failure.errno not in _NO_FOLDER_SYNC:
            raise OSError(
                failure.errno,
                f"{folder}: the new file is in place, but the folder could not be forced to the disk "
                f"({failure.strerror}). Check the disk before relying on the file.",
            ) from failure


def _explain(target: Path, n_bytes: int, failure: OSError) -> str:
    reason = failure.strerror or str(failure)
    if failure.errno in _FULL:
        advice = f"{n_bytes} bytes are needed: free space in {target.parent}, or choose another place (--out)"
    elif not target.parent.is_dir():
        advice = f"the folder {target.parent} does not exist: create it, or choose another place (--out)"
    elif target.is_dir():
        advice = "there is a folder of that name: choose another name"
    else:
        advice = f"check that {target.parent} can be written to, or choose another place (--out)"
    return f"cannot write {target}: {reason}; {advice}. An earlier file of that name is untouched."
