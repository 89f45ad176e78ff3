"""Files of other tools written by hand, and damaged ones."""

import random
import re
import struct

import numpy as np

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    """An idx file of ``array``."""
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim]) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def atis(x, y, t, p):
    """Events in the 40-bit format of N-MNIST: x, y, then polarity (1 bit) and time stamp (23 bits), big-endian."""
    x, y, t, p = (np.asarray(a, np.int64) for a in (x, y, t, p))
    columns = x, y, (p << 7) | (t >> 16), (t >> 8) & 255, t & 255
    return np.stack(columns, 1).astype(np.uint8).tobytes()


def mutants(text, n, seed):
    """Changed copies of a text: bytes changed, cut, doubled and moved, numbers and names replaced."""
    chance = random.Random(seed)
    raw = text.encode()
    words = [b"-1", b"1e400", b"nan", b"inf", b"[]", b"{}", b'""', b"true", b"9" * 400, b"[[1]]", b"1979-05-27", b"0.0"]
    for _ in range(n):
        a, b = sorted(chance.sample(range(len(raw)), 2))
        kind = chance.randrange(5)
        if kind == 0:
            yield raw[:a] + bytes([chance.randrange(256)]) + raw[a + 1 :]
        elif kind == 1:
            yield raw[:a] + raw[b:]
        elif kind == 2:
            yield raw[:b] + raw[a:]
        else:
            values = list(re.finditer(rb"(?<== )[^\n]+|(?<=\n)\S+", raw))
            one = chance.choice(values)
            yield raw[: one.start()] + chance.choice(words) + raw[one.end() :]
