"""No bytes make a binary reader do anything but read, or refuse in one line: valid files changed where it hurts."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.fuzz_plain import NUMBERS, WORDS, mutate
from tests.fuzz.harness import Finding, join, seeds_of, split
from tests.fuzz.targets_binary import TARGETS

SLOW = {"uci_mat", "hdf5", "brainvision", "fif", "eeglab"}
EXAMPLES = {name: 15 if name in SLOW else 40 for name in TARGETS}


@st.composite
def changed(draw: st.DrawFn, good: bytes, count: int) -> bytes:
    """Draw a valid input with a few changes, each in one of its files."""
    parts = split(good, count)
    for _ in range(draw(st.integers(1, 3))):
        number = draw(st.integers(0, count - 1))
        parts[number] = draw(change(parts[number]))
    return join(*parts)


@st.composite
def change(draw: st.DrawFn, part: bytes) -> bytes:
    """Draw one change: a word, a binary number, a byte, a cut, a piece doubled or left out, or nothing of the old at all."""
    at = draw(st.integers(0, max(len(part) - 1, 0)))
    how = draw(st.sampled_from(("word", "number", "byte", "cut", "double", "drop", "other")))
    if how == "word":
        places = [m.span() for m in re.finditer(rb"[^\s/(),:+x=]+", part)] or [(0, 0)]
        begin, end = draw(st.sampled_from(places))
        return part[:begin] + draw(st.sampled_from(WORDS)) + part[end:]
    if how == "number":
        return part[: at // 4 * 4] + draw(st.sampled_from(NUMBERS)) + part[at // 4 * 4 + 4 :]
    if how == "byte":
        return part[:at] + bytes([draw(st.integers(0, 255))]) + part[at + 1 :]
    if how == "cut":
        return part[:at]
    size = draw(st.integers(1, 64))
    middle = {"double": part[at : at + size] * 2, "drop": b"", "other": draw(st.binary(max_size=64))}[how]
    return part[:at] + middle + part[at + size :]


@pytest.mark.parametrize("name", TARGETS)
def test_the_valid_file_is_read(name: str) -> None:
    assert TARGETS[name](TARGETS[name].good()) == ""


@pytest.mark.parametrize("name", TARGETS)
def test_a_changed_file_is_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    good = target.good()

    @settings(max_examples=EXAMPLES[name], deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(changed(good, len(target.files)))
    def feed(data: bytes) -> None:
        target(data)

    feed()


@pytest.mark.parametrize(
    "name", ["wfdb_header", "wfdb", "wfdb_several", "edf", "bdf", "mat5", "mat5_deflate", "pickle", "pickle_old"]
)
def test_a_file_cut_anywhere_is_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    head, *rest = split(target.good(), len(target.files))
    # Every byte of a short header; of a long one a part that is odd, so that every place within a field comes up.
    for size in range(0, len(head), max(len(head) // 120, 1) | 1):
        said = target(join(head[:size], *rest))
        assert said or size > 20


@pytest.mark.parametrize("name", ["uci_mat", "fif", "brainvision", "eeglab"])
def test_a_container_cut_anywhere_is_read_or_refused(name: str) -> None:
    target = TARGETS[name]
    head, *rest = split(target.good(), len(target.files))
    for size in range(0, len(head), len(head) // 12 | 1):
        target(join(head[:size], *rest))


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_once_stays_mended(name: str) -> None:
    for seed in seeds_of(name):
        try:
            TARGETS[name](seed.read_bytes())
        except Finding as error:
            pytest.fail(f"{seed}: {error}")


def test_the_same_seed_makes_the_same_changes() -> None:
    made = [[mutate(random.Random(n), join(b"one 1", b"two 2"), 2) for n in range(50)] for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made[0])) > 40


def test_parts_come_apart_as_they_were_put_together() -> None:
    assert split(join(b"a", b"", b"ccc"), 3) == [b"a", b"", b"ccc"]
    assert split(b"\xff\xff\xff\xffabc", 2) == [b"abc", b""]
