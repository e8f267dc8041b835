"""Every reader of texts, tables and containers, given what no recorder wrote: read, or refused in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import bombs_text
from tests.fuzz.harness import seeds_of
from tests.fuzz.targets_text import TARGETS

# What has broken readers before, here or elsewhere.
WORDS = (
    b"-1", b"0", b"1e308", b"-1e308", b"1e400", b"1e-320", b"nan", b"inf", b"2147483648", b"9223372036854775807", b"9" * 40,
    b"../", b"/etc/passwd", b"\0", b"\xff" * 4, b"\n", b"\r\n", b"\x1b[31m", "\u202e".encode(), b"&a", b"*a", b"<<: ",
    b"!!python/name:os.system", b"{", b"[", b": ", b'"', b"'", b"{0.__class__}", b"2024-02-30", b"24:61:61", b"PK\x05\x06",
    b"PAR1", b"<!DOCTYPE x>", b'r="XFD1048576"', b"null", b"true", b";", b"\t", b"=1+1", b"[s]", b"_ms", b"T00:00:00+05:00",
)  # fmt: skip
PLACE = st.integers(0, 1 << 16)
CHANGE = st.one_of(
    st.tuples(st.just("put"), PLACE, st.sampled_from(WORDS)),
    st.tuples(st.just("over"), PLACE, st.sampled_from(WORDS)),
    st.tuples(st.just("over"), PLACE, st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("number"), PLACE, st.sampled_from(WORDS[:11])),
    st.tuples(st.just("cut"), PLACE, st.binary(min_size=1, max_size=60)),
    st.tuples(st.just("end"), PLACE, st.just(b"")),
    st.tuples(st.just("twice"), PLACE, st.binary(min_size=1, max_size=60)),
)


def changed(data: bytes, change: tuple[str, int, bytes]) -> bytes:
    """Return data with one change: a word put in or over, a number replaced, a stretch cut or told twice, the end lost."""
    kind, place, word = change
    place %= max(len(data), 1)
    if kind == "put":
        return data[:place] + word + data[place:]
    if kind == "over":
        return data[:place] + word + data[place + len(word) :]
    if kind == "cut":
        return data[:place] + data[place + len(word) :]
    if kind == "twice":
        return data[: place + len(word)] + data[place:]
    if kind == "end":
        return data[:place]
    numbers = list(re.finditer(rb"-?\d+(?:\.\d+)?", data))
    if not numbers:
        return data + word
    found = numbers[place % len(numbers)]
    return data[: found.start()] + word + data[found.end() :]


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(CHANGE, min_size=1, max_size=4))
def test_what_was_changed_is_read_or_refused(name: str, changes: list[tuple[str, int, bytes]]) -> None:
    data = TARGETS[name].good()
    for change in changes:
        data = changed(data, change)
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_whole_is_read_without_a_word(name: str) -> None:
    assert TARGETS[name](TARGETS[name].good()) == ""


KEPT = [(name, path.name) for name in TARGETS for path in seeds_of(name)]


@pytest.mark.parametrize(("name", "seed"), KEPT)
def test_what_once_broke_a_reader_breaks_it_no_more(name: str, seed: str) -> None:
    data = next(path for path in seeds_of(name) if path.name == seed).read_bytes()
    assert len(data) <= 4096
    TARGETS[name](data)


def test_no_file_of_a_megabyte_takes_more_than_256_mib(tmp_path: Path) -> None:
    """All bombs in one process whose whole address space may grow by 256 MiB: each is read or refused in one line."""
    code = "import sys; from tests.fuzz.bombs_text import main; main(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told = [line.split("\t") for line in done.stdout.splitlines()]
    assert [name for name, _, _ in told] == list(bombs_text.BOMBS)
    assert max(int(size) for _, size, _ in told) <= 1 << 20
    assert {name: said for name, _, said in told if not said.startswith(("refused ", "read"))} == {}
    # Bombs that are no bomb any more would prove nothing.
    assert {name for name, _, said in told if said == "read"} <= {"csv_blanks_before_a_unit", "e4_dense", "paired_far"}
