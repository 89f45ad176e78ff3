"""evsim.io.idx against files built by hand from the published format."""

import gzip
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evsim.errors import DataError
from evsim.io.idx import read_idx
from helpers.examples import examples
from helpers.files import CODES, idx_bytes

ARRAYS = st.sampled_from(sorted(CODES)).flatmap(
    lambda code: hnp.arrays(code, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
IMAGES = np.arange(24, dtype="u1").reshape(2, 3, 4)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=ARRAYS, packed=st.booleans())
def test_every_type_and_shape_is_read_bit_for_bit(tmp_path, array, packed):
    data = idx_bytes(array)
    (tmp_path / "a").write_bytes(gzip.compress(data, 1) if packed else data)
    read = read_idx(tmp_path / "a")
    assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert read.flags.writeable


def test_the_bytes_of_the_published_example_header():
    assert idx_bytes(np.zeros((60000, 0, 28), "u1")) == bytes.fromhex("00000803 0000ea60 00000000 0000001c")


@pytest.mark.parametrize(("stored", "asked"), [("a.gz", "a"), ("a", "a.gz")])
def test_the_name_with_or_without_gz_is_found(tmp_path, stored, asked):
    (tmp_path / stored).write_bytes(idx_bytes(IMAGES))
    assert np.array_equal(read_idx(tmp_path / asked), IMAGES)


def test_a_missing_file_names_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"a-idx3-ubyte and .*a-idx3-ubyte\.gz"):
        read_idx(tmp_path / "a-idx3-ubyte")


@pytest.mark.parametrize("length", range(40))
def test_a_file_truncated_anywhere_says_expected_and_got(tmp_path, length):
    (tmp_path / "a").write_bytes(idx_bytes(IMAGES)[:length])
    expected = 4 if length < 4 else 16 if length < 16 else 40
    with pytest.raises(DataError, match=rf"truncated.* {expected} bytes.*there are {length}\b"):
        read_idx(tmp_path / "a")


def test_a_gzip_file_truncated_anywhere_is_refused(tmp_path):
    packed = gzip.compress(idx_bytes(np.random.default_rng(0).integers(0, 256, (10, 20), "u1")))
    for length in range(2, len(packed)):
        (tmp_path / "a").write_bytes(packed[:length])
        with pytest.raises(DataError, match="truncated"):
            read_idx(tmp_path / "a")
    with pytest.raises(DataError, match="unpack to 212 bytes where 212 were expected"):
        read_idx(tmp_path / "a")


def test_a_corrupt_gzip_file_is_refused(tmp_path):
    packed = bytearray(gzip.compress(idx_bytes(IMAGES)))
    packed[-6] ^= 1
    (tmp_path / "a").write_bytes(packed)
    with pytest.raises(DataError, match="corrupt gzip"):
        read_idx(tmp_path / "a")


def test_trailing_bytes_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(idx_bytes(IMAGES) + b"\0")
    with pytest.raises(DataError, match=r"too many.* 40 bytes in all, but there are 41"):
        read_idx(tmp_path / "a")


@pytest.mark.parametrize("start", ["89504e47", "00000a03", "00010803", "08030000"])
def test_a_wrong_magic_number_is_shown(tmp_path, start):
    (tmp_path / "a").write_bytes(bytes.fromhex(start) + bytes(40))
    with pytest.raises(DataError, match=bytes.fromhex(start).hex(" ")):
        read_idx(tmp_path / "a")


def test_an_absurd_header_allocates_nothing(tmp_path):
    (tmp_path / "a").write_bytes(bytes([0, 0, 8, 3]) + b"\xff" * 12)
    with pytest.raises(DataError, match="truncated"):
        read_idx(tmp_path / "a")


def test_a_small_gzip_file_does_not_fill_the_memory(tmp_path):
    """10 MB of gzip would unpack to 10 GB; no more is unpacked than the header announces."""
    bomb = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    with open(tmp_path / "a", "wb") as file:
        file.write(bomb.compress(idx_bytes(IMAGES)))
        for _ in range(300):
            file.write(bomb.compress(zeros))
        file.write(bomb.flush())
    code = (
        "import resource, sys\n"
        "from evsim.io.idx import read_idx\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_idx(sys.argv[1])\n"
        "except ValueError as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)"
    )
    found = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, text=True, check=True)
    said, megabytes = found.stdout.strip().splitlines()
    assert "bytes too many" in said and float(megabytes) < 50


def test_a_gzip_header_that_announces_more_than_can_be_in_the_file_allocates_nothing(tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12))
    with pytest.raises(DataError, match="of gzip"):
        read_idx(tmp_path / "a")


@pytest.mark.parametrize("axes", [9, 64, 255])
def test_more_axes_than_any_data_set_has_are_refused(tmp_path, axes):
    (tmp_path / "a").write_bytes(bytes([0, 0, 8, axes]) + bytes(4 * axes))
    with pytest.raises(DataError, match=f"{axes} axes"):
        read_idx(tmp_path / "a")
