"""The classics of hostile files, one by one: ways out of the folder, bombs, circles, lies about lengths, code in data."""

from __future__ import annotations

import ctypes
import gzip
import io
import os
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.data.mat5 import open_mat5
from biosig_mtl.data.matlab import hdf5_dataset, open_hdf5
from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.data.readers.mne_guard import check_claimed, check_named
from biosig_mtl.data.readers.wfdb_header import Header, read_header
from biosig_mtl.data.unpickle import read_pickle
from biosig_mtl.errors import DataError, RecipeError
from tests.fuzz.harness import Target, guarded, join, split
from tests.fuzz.targets_binary import HEADER, TARGETS, VHDR, VMRK, edf

MIB = 1 << 20


def _read(path: Path) -> None:
    open_source(entry_for(path)).read()


def refused(path: Path, read: Callable[[Path], object] = _read) -> str:
    """Read a file under all guards, every allocation counted, and return the words of its refusal."""
    target = Target("classic", (path.name,), read, lambda: b"", memory_mib=64, grows=0)
    tracemalloc.start()
    try:
        said = guarded(lambda: read(path), path.parent, target, 0)
    finally:
        tracemalloc.stop()
    assert said, f"{path} was read"
    return said


@contextmanager
def opened_files(*paths: Path) -> Iterator[list[str]]:
    """Tell which of some files anything in this process opens, libraries in C included (inotify of Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "inotify_init1"):
        pytest.skip("needs inotify")
    watch = libc.inotify_init1(os.O_NONBLOCK)
    names = {libc.inotify_add_watch(watch, os.fsencode(path), 0x20): path.name for path in paths}
    seen: list[str] = []
    try:
        yield seen
        try:
            events = os.read(watch, 1 << 16)
        except BlockingIOError:
            return
        while events:
            number, _, _, size = struct.unpack("<iIII", events[:16])
            seen.append(names[number])
            events = events[16 + size :]
    finally:
        os.close(watch)


@pytest.fixture(autouse=True)
def loaded() -> None:
    """What is imported late is imported before the guards look."""
    for name in ("wfdb", "edf", "mat5", "uci_mat", "pickle", "brainvision", "fif", "eeglab"):
        TARGETS[name].warm()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Return a file outside of the folder of the recording that no recording may open."""
    place = tmp_path / "elsewhere" / "secret.dat"
    place.parent.mkdir()
    place.write_bytes(bytes(range(256)) * 40)
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "set"
    place.mkdir()
    return place


def test_the_watch_sees_what_c_opens(secret: Path) -> None:
    with opened_files(secret) as seen:
        ctypes.CDLL(None).open(os.fsencode(secret), os.O_RDONLY)
    assert seen == ["secret.dat"]


# --------------------------------------------------------------------------------------------------- ways out of the folder
@pytest.mark.parametrize(
    "name", ["../elsewhere/secret.dat", "{secret}", "./../elsewhere/secret.dat", "..", "a/b.dat", "s3://x/y"]
)
def test_a_wfdb_header_names_no_file_elsewhere(folder: Path, secret: Path, name: str) -> None:
    (folder / "rec.hea").write_text(f"rec 1 125 100\n{name.format(secret=secret)} 16 200/mV 12 0 0 0 0 ECG\n")
    with opened_files(secret) as seen:
        assert "only files beside the header are read" in refused(folder / "rec.hea")
        (folder / "rec.hea").write_text(f"rec/1 1 125 100\n{name.format(secret=secret).removesuffix('.dat')} 100\n")
        assert "only files beside the header are read" in refused(folder / "rec.hea")
    assert not seen


@pytest.mark.parametrize("what", ["samples", "segment", "layout"])
def test_a_link_out_of_the_folder_is_not_followed(folder: Path, secret: Path, what: str) -> None:
    header = secret.with_name("secret.hea")
    header.write_text("secret 1 125 100\nsecret.dat 16 200/mV 12 0 0 0 0 ECG\n")
    text = {"samples": "rec 1 125 100\nrec.dat 16 200/mV 12 0 0 0 0 ECG\n", "segment": "rec/1 1 125 100\nseg 100\n"}
    text["layout"] = "rec/2 1 125 100\nlay 0\nown 100\n"
    (folder / "rec.hea").write_text(text[what])
    (folder / "own.hea").write_text("own 1 125 100\nown.dat 16 200/mV 12 0 0 0 0 ECG\n")
    (folder / "own.dat").write_bytes(bytes(200))
    (folder / "rec.dat").symlink_to(secret)
    for name in ("seg.hea", "lay.hea"):
        (folder / name).symlink_to(header)
    with opened_files(secret, header) as seen:
        assert "link out of its folder" in refused(folder / "rec.hea")
    assert not seen


def test_links_that_people_make_are_followed(folder: Path, tmp_path: Path) -> None:
    """A folder of links to another folder, a file beside, and the store of git-annex are no way out."""
    real = tmp_path / "real"
    real.mkdir()
    head, samples = split(TARGETS["wfdb"].good(), 2)
    (real / "rec.hea").write_bytes(head)
    (real / "rec.dat").write_bytes(samples)
    (tmp_path / "linked").symlink_to(real)
    for name in ("rec.hea", "rec.dat"):
        (folder / name).symlink_to(real / name)
    annexed = tmp_path / "annexed" / "sub"
    store = tmp_path / "annexed" / ".git" / "annex" / "objects" / "x"
    annexed.mkdir(parents=True)
    store.mkdir(parents=True)
    (store / "key.dat").write_bytes(samples)
    (annexed / "rec.hea").write_bytes(head)
    (annexed / "rec.dat").symlink_to(Path("..") / ".git" / "annex" / "objects" / "x" / "key.dat")
    for place in (real, tmp_path / "linked", folder, annexed):
        assert open_source(entry_for(place / "rec.hea")).read().channels["ecg"].samples.size == 40


def test_a_header_that_is_another_file_tells_nothing_of_it(folder: Path, secret: Path) -> None:
    secret.write_text("root:x:0:0:hash-of-a-password\nsecond:line\n")
    (folder / "rec.hea").symlink_to(secret)
    # The file that a person names is opened wherever it lies; what it holds is told to nobody.
    with pytest.raises(DataError) as error:
        _read(folder / "rec.hea")
    assert "hash" not in str(error.value)


@pytest.mark.parametrize("name", ["../elsewhere/secret.dat", "{secret}", "..\\elsewhere\\secret.dat", ".."])
@pytest.mark.parametrize("word", ["DataFile", "MarkerFile"])
def test_a_brainvision_header_names_no_file_elsewhere(folder: Path, secret: Path, name: str, word: str) -> None:
    old = b"rec.eeg" if word == "DataFile" else b"rec.vmrk"
    text = VHDR.replace(word.encode() + b"=" + old, f"{word}={name.format(secret=secret)}".encode())
    (folder / "rec.vhdr").write_bytes(text)
    (folder / "rec.eeg").write_bytes(bytes(400))
    (folder / "rec.vmrk").write_bytes(VMRK)
    with opened_files(secret) as seen:
        assert "only files beside the header are read" in refused(folder / "rec.vhdr")
        (folder / "rec.vhdr").write_bytes(VHDR)
        (folder / old.decode()).unlink()
        (folder / old.decode()).symlink_to(secret)
        assert "link out of its folder" in refused(folder / "rec.vhdr")
    assert not seen


@pytest.mark.parametrize("coding", ["utf-16", "cp037", "punycode", "utf-7", "unicode_escape"])
def test_a_header_in_a_coding_that_hides_a_name_is_refused(folder: Path, coding: str) -> None:
    (folder / "rec.vhdr").write_bytes(VHDR.replace(b"Codepage=UTF-8", f"Codepage={coding}".encode()))
    assert "save it as UTF-8" in refused(folder / "rec.vhdr")


def _eeglab(data: object, **more: object) -> bytes:
    from scipy.io import savemat

    raw = io.BytesIO()
    savemat(raw, {"EEG": {"nbchan": 2.0, "pnts": 50.0, "trials": 1.0, "srate": 100.0, "data": data} | more})
    return raw.getvalue()


@pytest.mark.parametrize("name", ["../elsewhere/secret.fdt", "{secret}", "/etc/passwd", "..", "x.dat"])
def test_an_eeglab_set_names_no_file_elsewhere(folder: Path, secret: Path, name: str) -> None:
    (folder / "rec.set").write_bytes(_eeglab(name.format(secret=secret)))
    with opened_files(secret) as seen:
        assert "only a .fdt beside it is read" in refused(folder / "rec.set")
        (folder / "rec.set").write_bytes(_eeglab("rec.fdt"))
        (folder / "rec.fdt").symlink_to(secret)
        assert "link out of its folder" in refused(folder / "rec.set")
    assert not seen


def _tag(kind: int, form: int, content: bytes, after: int = 0) -> bytes:
    return struct.pack(">iiii", kind, form, len(content), after) + content


def test_a_split_fif_names_no_file_elsewhere_and_its_tags_end(folder: Path, secret: Path) -> None:
    start = _tag(100, 31, bytes(20)) + _tag(101, 3, struct.pack(">i", -1))
    other = _tag(104, 3, struct.pack(">i", 118)) + _tag(118, 10, str(secret).encode())
    (folder / "a_raw.fif").write_bytes(start + other)
    with opened_files(secret) as seen:
        assert "only files beside the header are read" in refused(folder / "a_raw.fif")
        # The same name, where only the directory says that it is one.
        hidden = _tag(1, 10, str(secret).encode())
        table = _tag(102, 32, struct.pack(">iiii", 118, 10, len(str(secret)), len(start)))
        head = _tag(100, 31, bytes(20)) + _tag(101, 3, struct.pack(">i", len(start) + len(hidden)))
        (folder / "a_raw.fif").write_bytes(head + hidden + table)
        assert "only files beside the header are read" in refused(folder / "a_raw.fif")
    assert not seen
    (folder / "a_raw.fif").write_bytes(start + _tag(1, 3, bytes(4), after=36))
    assert "after which comes byte 36" in refused(folder / "a_raw.fif")


def test_headers_beyond_all_measure_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "rec.hea").write_bytes(HEADER + b"#" * (5 * MIB))
    assert "larger than" in refused(folder / "rec.hea")
    (folder / "rec.vhdr").write_bytes(VHDR + b";" * (5 * MIB))
    assert "larger than" in refused(folder / "rec.vhdr")
    (folder / "rec.vhdr").write_bytes(VHDR.replace(b"SamplingInterval=4000", b"SamplingInterval=1e-9"))
    (folder / "rec.eeg").write_bytes(bytes(400))
    (folder / "rec.vmrk").write_bytes(VMRK)
    assert "claims a sampling rate of" in refused(folder / "rec.vhdr")
    start = _tag(100, 31, bytes(20)) + _tag(101, 3, struct.pack(">i", -1))
    (folder / "a_raw.fif").write_bytes(start + _tag(1, 3, bytes(4)) * 50)
    monkeypatch.setattr("biosig_mtl.data.readers.mne_guard._MOST_TAGS", 20)
    assert "more than 20 tags" in refused(folder / "a_raw.fif")


def _gdf(version: bytes, *, records: int = 10, samples: int = 10, kind: int = 3, events: bytes = bytes(8)) -> bytes:
    old = version < b"1.9"
    head = (b"GDF " + version).ljust(168) + b"2020010100000000"
    head += struct.pack("<q", 768) if old else struct.pack("<Hxxxxxx", 3)
    head = (
        head.ljust(236, b"\0")
        + struct.pack("<qII", records, 1, 10)
        + (struct.pack("<I", 2) if old else struct.pack("<HH", 2, 0))
    )
    described = bytes(432) + struct.pack("<4i", samples, samples, kind, kind)
    return head + described.ljust(512, b"\0") + bytes(400) + events


@pytest.mark.parametrize("version", [b"1.25", b"1.92", b"2.20"])
def test_a_gdf_claims_no_more_events_than_it_has(folder: Path, version: bytes) -> None:
    path = folder / "rec.gdf"
    count = b"\1\xff\xff\xff\xff\xff\xff\x7f"
    for changed, message in (
        ({"events": count}, "events claimed in 8 bytes"),
        ({"records": -7}, "-7 records"),
        ({"samples": -1}, "values of the types"),
        ({"kind": 99}, "values of the types"),
    ):
        path.write_bytes(_gdf(version, **changed))
        assert message in refused(path, check_named)
    path.write_bytes(_gdf(version))
    check_named(path)
    path.write_bytes(b"GDF x" + bytes(300))
    assert "does not start as a GDF file does" in refused(path, check_named)


def test_what_mne_claims_to_have_found_is_checked_again(folder: Path, secret: Path) -> None:
    (folder / "rec.vhdr").write_bytes(VHDR)
    (folder / "rec.eeg").write_bytes(bytes(40))
    files = [folder / "rec.eeg"]
    check_claimed(folder / "rec.vhdr", iter(files), 40_000)
    with pytest.raises(DataError, match="claims 40001 values, the files hold 40 bytes"):
        check_claimed(folder / "rec.vhdr", iter(files), 40_001)
    (folder / secret.name).write_bytes(bytes(9))
    with pytest.raises(DataError, match="only files beside the header are read"):
        check_claimed(folder / "rec.vhdr", iter([secret]), 1)


def test_a_packed_fif_is_read(folder: Path) -> None:
    (folder / "a_raw.fif.gz").write_bytes(gzip.compress(TARGETS["fif"].good()))
    assert open_source(entry_for(folder / "a_raw.fif.gz")).read().duration_s == 2.0


def test_a_bomb_in_a_fif_ends_early(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biosig_mtl.data.readers.mne_guard.SMALL_BYTES", 4 * MIB)
    (folder / "a_raw.fif.gz").write_bytes(gzip.compress(bytes(40 * MIB), 9))
    assert "holds more than" in refused(folder / "a_raw.fif.gz")
    (folder / "a_raw.fif.gz").write_bytes(gzip.compress(bytes(400), 9)[:-9])
    assert "not readable" in refused(folder / "a_raw.fif.gz")


@pytest.mark.parametrize("kind", ["external link", "soft link", "external storage", "virtual"])
@pytest.mark.parametrize("reader", ["cells", "numbers"])
def test_hdf5_leads_to_no_other_file(folder: Path, secret: Path, kind: str, reader: str) -> None:
    import h5py

    other = secret.with_suffix(".h5")
    with h5py.File(other, "w") as file:
        file["x"] = np.ones((100, 3))
    with h5py.File(folder / "rec.mat", "w", userblock_size=512) as file:
        where = "x" if reader == "numbers" else "#refs#/0"
        if "link" in kind:
            link = h5py.ExternalLink(str(other), "/x") if kind == "external link" else h5py.SoftLink("/gone")
            file["x"] = link
        elif kind == "external storage":
            file.create_dataset(where, (100, 3), "f8", external=[(str(secret), 0, 2400)])
        else:
            layout = h5py.VirtualLayout((100, 3), "f8")
            layout[:] = h5py.VirtualSource(str(other), "x", (100, 3))
            file.create_virtual_dataset(where, layout)
        if reader == "cells" and "link" not in kind:
            cells = file.create_dataset("Part_1", (1, 1), dtype=h5py.ref_dtype)
            cells[0, 0] = file["#refs#/0"].ref
    raw = bytearray((folder / "rec.mat").read_bytes())
    raw[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (folder / "rec.mat").write_bytes(raw)
    with opened_files(secret, other) as seen:
        assert "links are not followed" in refused(folder / "rec.mat", _read if reader == "cells" else _take)
    assert not seen


def _take(path: Path) -> None:
    with open_hdf5(path) as file:
        np.asarray(hdf5_dataset(file, "x", path)[...])


# ----------------------------------------------------------------------------------------------------- lies about lengths
@pytest.mark.parametrize(
    "text",
    [
        "rec 1 125 1000000000\nrec.dat 16 200/mV 12 0 0 0 0 ECG\n",
        "rec 2 125 50\nrec.dat 16 200/mV 12 0 0 0 0 ECG\none.dat 16x1000000000 200/mV 12 0 0 0 0 ABP\n",
        "rec/2 1 125 1000000000\none 50\n~ 999999999\n",
        "rec/3 1 125 50\nlay 0\none 50\n~ 1\n",
        "rec/1000000000 1 125 1000000000\none 50\n",
        "rec 1000000000 125 50\nrec.dat 16 200/mV 12 0 0 0 0 ECG\n",
        "rec 1 1e300 50\nrec.dat 16 200/mV 12 0 0 0 0 ECG\n",
        "rec 1 1e-300 50\nrec.dat 16 200/mV 12 0 0 0 0 ECG\n",
        "rec 1 125 50\nrec.dat 16 1e-300/mV 12 0 0 0 0 ECG\n",
        "rec 1 125 50\nrec.dat 16 200(99999999999)/mV 12 0 0 0 0 ECG\n",
        "rec 1 125 50\nrec.dat 16:99999999999 200/mV 12 0 0 0 0 ECG\n",
        f"rec 1 125 {'9' * 5000}\nrec.dat 16 200/mV 12 0 0 0 0 ECG\n",
        "rec 2 125 50\nrec.dat 16 200/mV 12 0 0 0 0 ECG\nrec.dat 212 200/mV 12 0 0 0 0 ABP\n",
    ],
)
def test_a_wfdb_header_that_lies_costs_nothing(folder: Path, text: str) -> None:
    (folder / "rec.hea").write_text(text)
    (folder / "rec.dat").write_bytes(bytes(100))
    (folder / "one.dat").write_bytes(bytes(100))
    (folder / "one.hea").write_text("one 1 125 50\none.dat 16 200/mV 12 0 0 0 0 ECG\n")
    (folder / "lay.hea").write_text("lay 1 125 0\n~ 0x1000000000 200/mV 12 0 0 0 0 ECG\n")
    assert str(folder) in refused(folder / "rec.hea")


def test_segments_in_a_circle_and_a_thousand_of_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.hea").write_text("a/2 1 125 100\na 50\nb 50\n")
    (folder / "b.hea").write_text("b/2 1 125 100\na 50\nb 50\n")
    assert "consists of segments" in refused(folder / "a.hea")
    (folder / "one.hea").write_text("one 1 125 5\none.dat 16 200/mV 12 0 0 0 0 ECG\n")
    (folder / "one.dat").write_bytes(bytes(10))
    (folder / "many.hea").write_text("many/2000 1 125 10000\n" + "one 5\n" * 2000)
    from biosig_mtl.data.readers import wfdb_record

    reads: list[Path] = []

    def count(path: Path) -> Header:
        reads.append(path)
        return read_header(path)

    monkeypatch.setattr(wfdb_record, "read_header", count)
    assert open_source(entry_for(folder / "many.hea")).duration_s == 80.0
    assert [path.name for path in reads] == ["many.hea", "one.hea"]


def _flac(frames: int) -> bytes:
    block = struct.pack(">HH", 4096, 4096) + bytes(6)
    block += ((125 << 44) | (0 << 41) | (15 << 36) | frames).to_bytes(8, "big") + bytes(16)
    return b"fLaC\x80" + len(block).to_bytes(3, "big") + block


def test_flac_that_claims_years_or_is_no_flac(folder: Path) -> None:
    (folder / "rec.hea").write_text("rec 1 125\nrec.dat 516 200/mV 12 0 0 0 0 ECG\n")
    (folder / "rec.dat").write_bytes(_flac((1 << 36) - 1))
    assert "rec.dat" in refused(folder / "rec.hea")
    # A sound of another kind, some of which name files of their own.
    (folder / "rec.dat").write_bytes(b"RIFF" + bytes(200))
    assert "not readable as FLAC" in refused(folder / "rec.hea")


@pytest.mark.parametrize(
    ("place", "text", "message"),
    [
        (236, "0", "no complete data record"),
        (236, "-1", ""),
        (236, "99999999", ""),
        (252, "-1", "ends within its header"),
        (252, "9999", "ends within its header"),
        (252, "1e9", "ends within its header"),
        (184, "-256", "claims only"),
        (184, "99999999", "ends within its header"),
        (184, "1", "claims only"),
        (244, "0", "cannot be read"),
        (244, "-1", "cannot be read"),
        (244, "1e-9", "samples a second"),
        (244, "nan", "where a number belongs"),
        (256 + 4 * (16 + 80 + 8 + 8 + 8 + 8 + 8 + 80), "-8", "claims -8 samples"),
        (256 + 4 * (16 + 80 + 8 + 8 + 8 + 8 + 8 + 80), "99999999", "samples a second"),
    ],
)
@pytest.mark.parametrize("bdf", [False, True])
def test_an_edf_header_that_lies_costs_nothing(folder: Path, place: int, text: str, message: str, bdf: bool) -> None:
    raw = bytearray(edf(bdf=bdf))
    width = 4 if place == 252 else 8
    raw[place : place + width] = text.encode().ljust(width)[:width]
    path = folder / ("rec.bdf" if bdf else "rec.edf")
    path.write_bytes(raw)
    if message:
        assert message in refused(path)
    else:
        assert open_source(entry_for(path)).duration_s == 2.0


def test_matlab_bombs_end_early(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path = folder / "rec.mat"
    # 10^9 cells in a hundred bytes; an array that claims seven gigabytes.
    start = struct.pack("<II", 6, 8) + b"%s" + struct.pack("<IIIiiII", 0, 5, 8, 30000, 30000, 0x10001, 97)
    cells, doubles = (start.replace(b"%s", struct.pack("<I", kind)) for kind in (1, 6))
    for body in (cells, doubles + struct.pack("<II", 9, 8) + bytes(8)):
        path.write_bytes(head + struct.pack("<II", 14, len(body)) + body)
        assert "claims" in refused(path, _walk)
    path.write_bytes(head + struct.pack("<II", 14, 0xFFFFFFF0) + bytes(64))
    assert "not readable as MATLAB v5" in refused(path, _walk)
    # 300 MiB of zeros in 300 kB, honestly described: no more than the bound of `Inflated` is ever made of them.
    monkeypatch.setattr("biosig_mtl.data.inflated.SMALL_BYTES", 8 * MIB)
    count = 300 * MIB // 8
    body = struct.pack("<IIIIIIiiII", 6, 8, 6, 0, 5, 8, 1, count, 0x10001, 97) + struct.pack("<II", 9, 8 * count)
    packer = zlib.compressobj(9)
    bomb = packer.compress(struct.pack("<II", 14, len(body) + 8 * count) + body)
    bomb += b"".join(packer.compress(bytes(MIB)) for _ in range(300)) + packer.flush()
    path.write_bytes(head + struct.pack("<II", 15, len(bomb)) + bomb)
    assert "holds more than" in refused(path, _walk)


def _walk(path: Path) -> None:
    file = open_mat5(path)
    for name in file.names:
        file[name].array()


@pytest.mark.parametrize("shape", [(10**9, 3), (3, 10**12)])
def test_hdf5_that_claims_what_it_does_not_hold(folder: Path, shape: tuple[int, int]) -> None:
    import h5py

    with h5py.File(folder / "rec.mat", "w", userblock_size=512) as file:
        data = file.create_dataset("#refs#/0", shape, "f8", chunks=(1000, 3)[:: 1 if shape[1] == 3 else -1])
        cells = file.create_dataset("Part_1", (1, 1), dtype=h5py.ref_dtype)
        cells[0, 0] = data.ref
        file.create_dataset("x", shape, "f8", chunks=(1000, 3)[:: 1 if shape[1] == 3 else -1])
        file.create_dataset("many", (10**12,), h5py.ref_dtype, chunks=(1000,))
    raw = bytearray((folder / "rec.mat").read_bytes())
    raw[:128] = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
    (folder / "rec.mat").write_bytes(raw)
    assert "claims" in refused(folder / "rec.mat")
    assert "claims" in refused(folder / "rec.mat", _take)


@pytest.mark.parametrize("packing", ["gzip", None, "lzf"])
def test_hdf5_pieces_that_are_short_are_not_read(folder: Path, packing: str | None) -> None:
    """HDF5 itself reads on behind such a piece, and gives what it finds in memory for samples."""
    import h5py

    path = folder / "rec.mat"
    for short in (False, True):
        with h5py.File(path, "w", userblock_size=512) as file:
            data = file.create_dataset("x", data=np.ones((4, 50)), chunks=(2, 50), compression=packing)
            if short:
                piece = bytes(80) if packing is None else zlib.compress(bytes(80))
                data.id.write_direct_chunk((0, 0), piece)
        if short or packing == "lzf":
            assert ("does not use" if packing == "lzf" else "cut or damaged") in refused(path, _take)
        else:
            _take(path)
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("x", (4, 50), "f8", chunks=(2, 50))[0] = 1
    assert "holds 1 of 2 pieces" in refused(path, _take)


@pytest.mark.parametrize("extra", [{"shuffle": True}, {"fletcher32": True}, {"shuffle": True, "fletcher32": True}])
@pytest.mark.parametrize("packing", ["gzip", None])
def test_hdf5_pieces_that_are_whole_are_read(folder: Path, packing: str | None, extra: dict[str, bool]) -> None:
    import h5py

    with h5py.File(folder / "rec.mat", "w", userblock_size=512) as file:
        file.create_dataset("x", data=np.arange(60.0).reshape(6, 10), chunks=(4, 7), compression=packing, **extra)
    _take(folder / "rec.mat")
    _take(folder / "rec.mat")


# --------------------------------------------------------------------------------------------------------- code in the data
class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/never",)


def _names(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


PICKLES = {
    "a call": pickle.dumps(_Runs()),
    "a call, old": pickle.dumps(_Runs(), 0),
    "INST": b"(S'true'\nios\nsystem\n.",
    "OBJ": b"(" + _names("os", "system") + b"S'true'\no.",
    "NEWOBJ": _names("os", "system") + b")\x81.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT4": b"\x80\x02\x84\x01\0\0\0.",
    "PERSID": b"Pos.system\n.",
    "BINPERSID": b"S'x'\nQ.",
    "BUILD on what is no array": b"}(S'__reduce__'\n" + _names("os", "system") + b"db.",
    "an allowed name that is no data": _names("numpy", "ndarray") + b".",
    "the machine of numpy with another class": _names("numpy.core.multiarray", "_reconstruct")
    + _names("os", "system")
    + b"K\0C\1b\x87R.",
    "a name by the stack": b"\x8c\x02os\x8c\x06system\x93.",
    "a dotted name": b"\x8c\x05numpy\x8c\x0ef2py.os.system\x93.",
    "a codec that is no text": _names("_codecs", "encode") + b"X\1\0\0\0aX\x05\0\0\0rot13\x86R.",
    "a long number": b"\x8b" + struct.pack("<i", 2**31 - 1) + b"\1.",
    "a long number of less than nothing": b"\x8b" + struct.pack("<i", -1) + b".",
    "a text of 4 GiB": b"\x8d" + struct.pack("<Q", 1 << 32) + b"x.",
    "a memo place far out": b"]r\xff\xff\xff\xff" + b"j\xff\xff\xff\x7f.",
    "buffers from outside": b"\x80\x05\x97.",
    "a protocol to come": b"\x80\x63N.",
}


@pytest.mark.parametrize("what", PICKLES)
def test_no_word_of_a_pickle_runs_anything(folder: Path, what: str) -> None:
    (folder / "rec.pkl").write_bytes(PICKLES[what])
    if what == "an allowed name that is no data":
        assert not callable(read_pickle(folder / "rec.pkl"))
    else:
        assert "rec.pkl" in refused(folder / "rec.pkl", read_pickle)
    assert not Path("/tmp/never").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"(" * 90_000 + b".",
        b"]" + b"]a" * 40_000 + b".",
        b"](" + b"2" * 90_000 + b"e.",
        b"]q\0(" + b"h\0h\0h\0h\0l" * 9_000 + b".",
        b"".join(b"]" + b"q%c" % n + b"(" + b"h%c" % (n - 1) * 20 + b"e" for n in range(1, 40)) + b".",
    ],
)
def test_a_pickle_that_nests_or_doubles_stays_small(folder: Path, content: bytes) -> None:
    (folder / "rec.pkl").write_bytes(content)
    target = Target("pickle", ("rec.pkl",), read_pickle, lambda: b"", memory_mib=64, grows=100)
    tracemalloc.start()
    try:
        guarded(lambda: read_pickle(folder / "rec.pkl"), folder, target, len(content))
    finally:
        tracemalloc.stop()


def test_matlab_objects_and_functions_are_no_data(folder: Path) -> None:
    head = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    # Classes of arrays: object, sparse, function handle, opaque, and one that there is not.
    for kind in (3, 5, 16, 17, 99):
        body = struct.pack("<IIIIII", 6, 8, kind, 0, 5, 8) + struct.pack("<ii", 1, 1) + struct.pack("<IIII", 0x10001, 97, 1, 0)
        (folder / "rec.mat").write_bytes(head + struct.pack("<II", 14, len(body)) + body)
        assert "is other, where numbers belong" in refused(folder / "rec.mat", lambda p: open_mat5(p)["a"].array())


# ------------------------------------------------------------------------------------------------------------- odd files
@pytest.mark.parametrize("name", ["rec.dat", "rec.hea", "rec.edf", "rec.mat", "rec.set", "rec.vhdr", "a_raw.fif"])
def test_a_pipe_or_a_device_is_no_recording(folder: Path, name: str) -> None:
    if name == "rec.dat":
        (folder / "rec.hea").write_bytes(HEADER)
    os.mkfifo(folder / name)
    with pytest.raises((DataError, RecipeError), match=r"empty|pipe or a device"):
        _read(folder / ("rec.hea" if name == "rec.dat" else name))
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    with pytest.raises((DataError, RecipeError), match=r"empty|pipe or a device|link out"):
        _read(folder / ("rec.hea" if name == "rec.dat" else name))


def test_names_and_units_obey_no_terminal(folder: Path) -> None:
    (folder / "rec.hea").write_bytes(b"rec 1 125 50\nrec.dat 16 200/m\x1bV 12 0 0 0 0 \x1b]0;owned\x07ECG\n")
    (folder / "rec.dat").write_bytes(bytes(100))
    channel = open_source(entry_for(folder / "rec.hea")).read().channels
    assert {(c.source_name, c.unit) for c in channel.values()} == {("]0;ownedECG", "mV")}
    raw = bytearray(edf())
    raw[256:272] = b"\x1b[2JEEG Fz".ljust(16)
    (folder / "rec.edf").write_bytes(raw)
    assert all(name.isprintable() for name in open_source(entry_for(folder / "rec.edf")).channels)


def test_inputs_of_two_files_are_made_of_one() -> None:
    assert split(join(b"x", b"y"), 2) == [b"x", b"y"]
