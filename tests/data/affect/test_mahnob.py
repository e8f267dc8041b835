"""MAHNOB-HCI: descriptions in XML, marks under the amplifier's bits, the clip and the rest before it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from biosig_mtl.data import manifest
from biosig_mtl.data.listing import Listing
from biosig_mtl.data.readers import open_source
from biosig_mtl.types import DataError
from tests.data.affect import writers_b as write

GAIN = 524288 / 16777215


def listed(root: Path) -> Listing:
    return manifest.entries(manifest.load("mahnob_hci"), root)


def volts(numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    return ((numbers + 8388608) * GAIN - 262144).astype(np.float32)


@pytest.mark.parametrize("base", [0, 0x18FF00, 0x58FF00, 0x98FF00 - (1 << 24)])
def test_the_clip_is_found_under_any_state_of_the_amplifier(base: int, tmp_path: Path) -> None:
    signals = write.mahnob(tmp_path, base=base)
    listing = listed(tmp_path)
    entry = listing.entries[0]
    assert (entry.record, entry.subject, entry.stimulus) == ("session2", "1", "69.avi")
    assert {(x.name, x.value, x.unit) for x in entry.labels} == {
        ("valence", 7.0, "1..9"), ("arousal", 3.0, "1..9"), ("dominance", 5.0, "1..9")
    }  # fmt: skip
    source = open_source(entry)
    record = source.read()
    # 30 s of rest and 20 s of film; the 30 s after it are left out.
    assert (record.duration_s, record.baseline_s) == (50.0, (0.0, 30.0))
    np.testing.assert_allclose(record.channel("Fp1").samples, volts(signals["Fp1"][: 50 * 256]), atol=0.02)
    ecg = record.channel("ecg")
    assert (ecg.source_name, ecg.kind, ecg.unit) == ("EXG3-EXG1", "ecg", "uV")
    np.testing.assert_allclose(ecg.samples, (signals["EXG3"] - signals["EXG1"])[: 50 * 256] * GAIN, atol=0.02)
    eda = record.channel("eda")
    assert (eda.unit, eda.kind) == ("uS", "eda")
    np.testing.assert_allclose(eda.samples, 1e6 / volts(signals["GSR1"][: 50 * 256]), rtol=1e-3)
    parts = [source.read(a, b) for a, b in ((0, 11.11), (11.11, 99))]
    for name, channel in record.channels.items():
        np.testing.assert_array_equal(np.concatenate([p.channels[name].samples for p in parts]), channel.samples)


def test_valence_and_arousal_do_not_change_places(tmp_path: Path) -> None:
    write.mahnob(tmp_path, attributes={"feltArsl": "9", "feltVlnc": "1"})
    assert {x.name: x.value for x in listed(tmp_path).entries[0].labels}.items() >= {"arousal": 9.0, "valence": 1.0}.items()


def test_a_short_rest_is_as_long_as_it_was_recorded(tmp_path: Path) -> None:
    write.mahnob(tmp_path, marks_s=(4.5, 24.5))
    record = open_source(listed(tmp_path).entries[0]).read()
    assert record.baseline_s == (0.0, 4.5)
    assert record.duration_s == 24.5


def test_marks_that_do_not_fit_the_clip_are_told(tmp_path: Path) -> None:
    write.mahnob(tmp_path, marks_s=(30.0, 45.0, 60.0))
    notes = " | ".join(open_source(listed(tmp_path).entries[0]).read().notes)
    assert "3 marks of code 16; the first two are taken" in notes
    assert "its marks lie 15.0 s apart, the clip lasts 20.0 s" in notes


@pytest.mark.parametrize("marks", [(), (30.0,)])
def test_without_two_marks_a_trial_is_refused(marks: tuple[float, ...], tmp_path: Path) -> None:
    write.mahnob(tmp_path, marks_s=marks)
    with pytest.raises(DataError, match=rf"Status holds {len(marks)} marks of code 16; need two"):
        open_source(listed(tmp_path).entries[0])


def test_sessions_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    write.mahnob(tmp_path, session=2)
    write.mahnob(tmp_path, session=10, attributes={"feltArsl": "", "feltVlnc": ""})
    write.mahnob(tmp_path, session=11, attributes={"feltVlnc": "0"})
    write.mahnob(tmp_path, session=12)
    next((tmp_path / "Sessions" / "12").glob("*.bdf")).unlink()
    write.mahnob(tmp_path, session=13)
    (tmp_path / "Sessions" / "13" / "second.bdf").write_bytes(b"x")
    write.mahnob(tmp_path, session=14)
    (tmp_path / "Sessions" / "14" / "session.xml").write_text("<session", encoding="utf-8")
    listing = listed(tmp_path)
    assert [e.record for e in listing.entries] == ["session2"]
    reasons = [(r.record, r.reason) for r in listing.rejected]
    assert [name for name, _ in reasons] == [f"session{n}" for n in (10, 11, 12, 13, 14)]
    says = [
        "not a trial of the emotion experiment",
        "valence is '0'; its scale is 1 to 9",
        "holds 0 BDF",
        "holds 2 BDF",
        "as XML",
    ]
    assert all(text in reason for text, (_, reason) in zip(says, reasons, strict=True))
    assert all(f"Sessions/{n}" in reason for n, (_, reason) in zip((10, 11, 12, 13, 14), reasons, strict=True))


BOMB = '<!DOCTYPE session [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><session feltArsl="&b;"/>'
OUTSIDE = '<!DOCTYPE session [<!ENTITY x SYSTEM "file:///etc/passwd">]><session>&x;</session>'
DTD = '<!DOCTYPE session SYSTEM "http://127.0.0.1/x.dtd"><session feltArsl="1"/>'


@pytest.mark.parametrize("text", [BOMB, OUTSIDE, DTD, "<!DOCTYPE session><session/>"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_and_document_types_are_refused(text: str, encoding: str, tmp_path: Path) -> None:
    write.mahnob(tmp_path)
    (tmp_path / "Sessions" / "2" / "session.xml").write_text(text, encoding=encoding)
    listing = listed(tmp_path)
    assert len(listing) == 0
    assert listing.rejected[0].reason.endswith("session.xml: declares a document type or entities: refused")


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"<a></b>", b"<a>" * 100, "<a b='\u2028'".encode("utf-16"), b" " * (2 << 20)]
)
def test_other_texts_are_one_line(content: bytes, tmp_path: Path) -> None:
    write.mahnob(tmp_path)
    (tmp_path / "Sessions" / "2" / "session.xml").write_bytes(content)
    reason = listed(tmp_path).rejected[0].reason
    assert "session.xml" in reason
    assert "\n" not in reason


def test_a_folder_without_sessions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder Sessions/<number> with a session\.xml"):
        listed(tmp_path)


def test_a_cut_recording_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    write.mahnob(tmp_path)
    entry = listed(tmp_path).entries[0]
    held = entry.path.read_bytes()
    entry.path.write_bytes(held[: int(len(held) * 0.4)])
    # The second mark lies in what is missing.
    with pytest.raises(DataError, match="Status holds 1 marks"):
        open_source(entry)
