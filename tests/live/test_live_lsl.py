"""Laws of the inlet: names, units, rates and times of the stream are those of the source; what is not there is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biosig_mtl.live import LiveSource, LslSettings, LslSource
from biosig_mtl.live import lsl as module
from biosig_mtl.types import ChannelInfo, DataError, RecipeError

ROOT = Path(__file__).parents[2]


class Info:
    """What the library tells of a stream."""

    def __init__(self, **facts: Any) -> None:
        self.facts: dict[str, Any] = {
            "name": "watch",
            "type": "PPG",
            "nominal_srate": 100.0,
            "get_channel_labels": ["PLETH", "II", "x"],
            "get_channel_units": ["a.u.", "mV", None],
            "channel_count": 3,
            **facts,
        }

    def __getattr__(self, name: str) -> Any:
        return lambda: self.facts[name]


Part = tuple[list[list[float]], list[float]]


class Inlet:
    """The end of a stream that is read."""

    def __init__(self, info: Info, parts: list[Part]) -> None:
        self._info, self.parts, self.calls = info, parts, list[str]()
        self.fails: Exception | None = None

    def info(self, timeout: float) -> Info:
        assert timeout > 0
        return self._info

    def open_stream(self, timeout: float) -> None:
        assert timeout > 0
        if self.fails:
            raise self.fails
        self.calls.append("open")

    def close_stream(self) -> None:
        self.calls.append("close")

    def pull_chunk(self, timeout: float, max_samples: int) -> Part:
        assert 0 < timeout <= 1
        assert max_samples >= 1000
        return self.parts.pop(0) if self.parts else ([], [])


class Library:
    """The small part of `pylsl` that is used."""

    proc_clocksync, proc_dejitter = 1, 2

    class LostError(RuntimeError):
        """A stream that broke off."""

    def __init__(self, info: Info, parts: list[Part] | None = None) -> None:
        self.info = info
        self.inlet = Inlet(info, parts or [])
        self.asked: list[tuple[str, str]] = []

    def resolve_byprop(self, field: str, value: str, timeout: float) -> list[Info]:
        assert timeout > 0
        self.asked.append((field, value))
        return [self.info] if self.info.facts.get(field) == value else []

    def resolve_streams(self, wait_time: float) -> list[Info]:
        assert wait_time <= 1
        return [self.info] if self.info.facts["name"] else []

    def StreamInlet(self, info: Info, max_buflen: int, processing_flags: int) -> Inlet:  # noqa: N802 (its name)
        assert (info, max_buflen, processing_flags) == (self.info, 60, 3)
        return self.inlet


def rows(first: int, stop: int) -> Part:
    return [[float(k), -float(k), 0.0] for k in range(first, stop)], [5000 + k / 100 for k in range(first, stop)]


def test_names_units_and_rate_come_from_the_stream() -> None:
    library = Library(Info())
    made = LslSource(LslSettings("watch", {}), library)
    assert isinstance(made, LiveSource)
    assert made.channels == {"ppg": ChannelInfo("ppg", "ppg", "a.u.", 100.0), "ecg": ChannelInfo("ecg", "ecg", "mV", 100.0)}
    assert made.name == "lsl:watch"
    assert made.notes == []
    assert library.asked == [("name", "watch")]


def test_samples_and_times_arrive_and_a_hole_is_seen() -> None:
    library = Library(
        Info(), [rows(0, 50), ([], []), rows(50, 60), (rows(60, 65)[0] + rows(80, 85)[0], rows(60, 65)[1] + rows(80, 85)[1])]
    )
    made = LslSource(LslSettings("watch", {"ecg": ("PLETH",), "ppg": ("ii",)}), library)
    chunks = []
    for chunk in made.chunks():
        chunks.append(chunk)
        if len(chunks) == 6:
            made.close()
    assert chunks[1] is None
    known = [c for c in chunks if c is not None]
    assert [c.at_s for c in known] == pytest.approx([5000, 5000.5, 5000.6, 5000.8])
    np.testing.assert_array_equal(np.concatenate([c.samples["ecg"] for c in known]), [*range(65), *range(80, 85)])
    np.testing.assert_array_equal(known[0].samples["ppg"], -np.arange(50))
    assert library.inlet.calls == ["open", "close"]


def test_a_stream_may_be_called_by_its_type_and_needs_no_labels() -> None:
    library = Library(Info(name="x", type="ECG", channel_count=1, get_channel_labels=None, get_channel_units=None))
    made = LslSource(LslSettings("ECG", {}), library)
    assert made.channels == {"ecg": ChannelInfo("ecg", "ecg", "", 100.0)}
    assert library.asked == [("name", "ECG"), ("type", "ECG")]
    several = Library(Info(get_channel_labels=[None, None, None]))
    assert set(LslSource(LslSettings("watch", {"ppg": ("PPG_2",)}), several).channels) == {"ppg"}


@pytest.mark.parametrize(
    ("facts", "settings", "says"),
    [
        ({}, LslSettings("clock", {}, wait_s=0.1), r"lsl:clock: no stream of this name or type within 0\.1 s; there is watch"),
        ({"name": ""}, LslSettings("clock", {}, wait_s=0.1), "there is none on this network"),
        ({"nominal_srate": 0.0}, LslSettings("watch", {}), "lsl:watch: has no regular rate"),
        ({}, LslSettings("watch", {}, only=("eeg",)), "none of the channels eeg in PLETH, II, x; say which is which"),
        ({}, LslSettings("watch", {"ppg": ("finger",)}), r"none of the channels looked for \(ppg: finger\)"),
    ],
)
def test_what_is_not_there_is_told(facts: dict[str, Any], settings: LslSettings, says: str) -> None:
    with pytest.raises(DataError, match=says):
        LslSource(settings, Library(Info(**facts)))


@pytest.mark.parametrize("error", [TimeoutError(), Library.LostError()])
def test_a_stream_that_does_not_answer_is_told(error: Exception) -> None:
    library = Library(Info())
    library.inlet.fails = error
    with pytest.raises(DataError, match="was found and does not answer; start it anew"):
        LslSource(LslSettings("watch", {}), library)


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(RecipeError, match=r"pip install 'biosig-mtl\[lsl\]'"):
        LslSource(LslSettings("watch", {}))
    with pytest.raises(ValueError, match="need the name of a stream"):
        LslSettings("", {})


CHILD = """
import threading, time
import numpy as np, pylsl
from biosig_mtl.live import LslSettings, LslSource
info = pylsl.StreamInfo("biosig_test", "PPG", 1, 100, "float32", "biosig_test_1")
channel = info.desc().append_child("channels").append_child("channel")
channel.append_child_value("label", "PLETH")
channel.append_child_value("unit", "mV")
outlet = pylsl.StreamOutlet(info)
source = LslSource(LslSettings("biosig_test", {}))
assert (source.channels["ppg"].unit, source.channels["ppg"].fs) == ("mV", 100.0)
outlet.wait_for_consumers(5)
begin = pylsl.local_clock() - 3
for k in range(10):
    outlet.push_chunk([[float(n)] for n in range(30 * k, 30 * k + 30)], begin + (30 * k + 29) / 100)
found, times = [], []
for chunk in source.chunks():
    if chunk is not None:
        found += np.asarray(chunk.samples["ppg"]).tolist()
        times.append(chunk.at_s)
    if len(found) >= 300:
        source.close()
assert found == list(range(300)), found
assert abs(times[0] - begin) < 0.05, times[0] - begin
print("all samples in order")
"""


def test_a_real_stream_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("pylsl", reason="pylsl is not installed")
    (tmp_path / "lsl.cfg").write_text("[multicast]\nResolveScope = machine\n[log]\nlevel = -3\n")
    # A process of its own: the library reads its settings once, and its threads would outlive the test.
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env={**os.environ, "LSLAPICFG": str(tmp_path / "lsl.cfg")},
        check=False,
    )
    assert done.stdout.strip().endswith("all samples in order"), done.stderr[-2000:]
