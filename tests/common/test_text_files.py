"""evsim.text_files: text and TOML of users, with a sentence for all that is wrong in them."""

import re

import pytest

import evsim
from evsim.errors import DataError
from evsim.networks.toml_file import load_network
from evsim.text_files import read_spikes, read_text, read_toml
from helpers.files import mutants

NETWORK = """t_stop = 20.0
[inputs.in]
size = 3
file = "s.txt"
[populations.a]
size = 4
tau_m = [10.0, 20.0, 20.0, 10.0]
tau_syn = [5.0, 8.0]
v_init = {dist = "norm", loc = 0.1, scale = 0.1, max = 0.9}
[[connect]]
source = "in"
target = "a"
rule = "FixedIndegree"
indegree = 2
weight = 0.3
delay = 1.5
[[poisson]]
target = "a"
rate = 300.0
weight = 0.2
"""
SPIKES = "# time source\n0.5 0\n1.25, 2\n\n7e0 1  # last\n"


def test_a_byte_order_mark_is_skipped(tmp_path):
    (tmp_path / "n.toml").write_bytes(b"\xef\xbb\xbf" + NETWORK.encode())
    (tmp_path / "s.txt").write_bytes(b"\xef\xbb\xbf" + SPIKES.encode())
    assert load_network(tmp_path / "n.toml").t_stop == 20.0
    times, sources = read_spikes(tmp_path / "s.txt")
    assert times.tolist() == [0.5, 1.25, 7.0] and sources.tolist() == [0.0, 2.0, 1.0]


@pytest.mark.parametrize("coding", ["latin-1", "utf-16", "utf-16-be", "cp1252"])
def test_another_encoding_is_named_with_its_line(tmp_path, coding):
    text = "a = 1\n# Grö\u00dfe €\n" if coding != "latin-1" else "a = 1\n# Größe\n"
    (tmp_path / "n.toml").write_bytes(text.encode(coding))
    with pytest.raises(DataError, match=r"n\.toml"):
        read_toml(tmp_path / "n.toml")
    if coding in ("latin-1", "cp1252"):
        with pytest.raises(DataError, match=r"line 2: .*UTF-8"):
            read_text(tmp_path / "n.toml")


@pytest.mark.parametrize(
    "text", ["a = ", "a = [" * 5000, "a = " + "9" * 5000, "a = 1\na = 2", "\0", "a = 2020-13-40", "[a", "a.b=1\n[a]"]
)
def test_what_is_no_toml_is_a_sentence(tmp_path, text):
    (tmp_path / "n.toml").write_text(text)
    with pytest.raises(DataError, match=r"n\.toml is not valid TOML"):
        read_toml(tmp_path / "n.toml")
    with pytest.raises(evsim.NetworkError, match=r"n\.toml is not valid TOML"):
        load_network(tmp_path / "n.toml")


@pytest.mark.parametrize(
    "line", ["1 2 3", "1", "x 1", "nan 1", "1 inf", "1_0 1", "\u0661 1", "1;2", "0x1 1", "1e999 0"]
)
def test_a_line_that_is_no_spike_is_named(tmp_path, line):
    (tmp_path / "s.txt").write_text(f"0.5 0\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"s\.txt, line 2: .*got " + re.escape(repr(line))):
        read_spikes(tmp_path / "s.txt")


def test_no_mutant_of_a_network_file_ends_in_anything_but_a_sentence(tmp_path):
    for mutant in mutants(NETWORK, 600, 1):
        (tmp_path / "n.toml").write_bytes(mutant)
        try:
            load_network(tmp_path / "n.toml")
        except evsim.NetworkError as error:
            assert "n.toml" in str(error)


def test_no_mutant_of_a_spike_file_ends_in_anything_but_a_sentence(tmp_path):
    for mutant in mutants(SPIKES, 600, 2):
        (tmp_path / "s.txt").write_bytes(mutant)
        try:
            read_spikes(tmp_path / "s.txt")
        except DataError as error:
            assert "s.txt" in str(error)
