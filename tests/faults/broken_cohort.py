"""Thousands of small WFDB records, some of them broken in one of a dozen ways, written as fast as the disk takes them.

A few people are simulated; every record is a hard link to the samples of one of them, with a header of its own. A broken record
is written anew, so that its neighbours stay whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from biosig_mtl.data.synthetic import Cohort, write

SOURCES = 12
RECORD_S = 10
PER_FOLDER = 100
_HEAD = "record,subject,session,path,age_years,sex_male,height_cm,weight_kg"


@dataclass(frozen=True, slots=True)
class Pair:
    """The two files of a record: header and samples."""

    header: Path
    samples: Path

    def text(self) -> str:
        """Return the header."""
        return self.header.read_text(encoding="ascii")

    def say(self, text: str) -> None:
        """Write another header."""
        self.header.unlink()
        self.header.write_text(text, encoding="ascii")

    def hold(self, content: bytes) -> None:
        """Write other samples."""
        self.samples.unlink()
        self.samples.write_bytes(content)

    def counts(self) -> np.ndarray[tuple[int, int], np.dtype[np.int16]]:
        """Return the samples: (frame, channel), PLETH, II, ABP."""
        return np.fromfile(self.samples, "<i2").reshape(-1, 3)


def _pointer(pair: Pair) -> None:
    pair.hold(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 7500\n")


def _no_samples(pair: Pair) -> None:
    pair.samples.unlink()


def _cut_short(pair: Pair) -> None:
    pair.hold(pair.samples.read_bytes()[: 3 * 125 * 6])


def _empty(pair: Pair) -> None:
    pair.hold(b"")


def _no_header(pair: Pair) -> None:
    pair.header.unlink()


def _garbage(pair: Pair) -> None:
    pair.say("\x01\x02 this is no header\n" * 3)


def _other_names(pair: Pair) -> None:
    pair.say(pair.text().replace("PLETH", "RESP"))


def _missing_channel(pair: Pair) -> None:
    counts = pair.counts()
    counts[:, 0] = -32768  # what stands for "no sample"
    pair.hold(counts.tobytes())


def _flat(pair: Pair) -> None:
    counts = pair.counts()
    counts[:, 0] = 1000
    pair.hold(counts.tobytes())


def _no_rate(pair: Pair) -> None:
    pair.say(pair.text().replace(" 3 125 ", " 3 0 ", 1))


def _link_to_nowhere(pair: Pair) -> None:
    pair.header.unlink()
    pair.header.symlink_to("../.git/annex/objects/not-here")


def _pipe(pair: Pair) -> None:
    pair.samples.unlink()
    os.mkfifo(pair.samples)


def _too_long(pair: Pair) -> None:
    words = pair.text().split("\n", 1)[0].split()
    pair.say(pair.text().replace(f" {words[3]}", " 999999999", 1))


def _no_format(pair: Pair) -> None:
    pair.say(pair.text().replace(".dat 16 ", ".dat 99 "))


WAYS: dict[str, tuple[Callable[[Pair], None], str]] = {
    "pointer of Git-LFS": (_pointer, r"\.dat: is a Git-LFS pointer, not data; fetch it with `git lfs pull`"),
    "no samples": (_no_samples, r"\.dat: no such file"),
    "samples cut short": (_cut_short, r"shorter than one window"),
    "empty samples": (_empty, r"\.dat: the file is empty"),
    "no header": (_no_header, r"\.hea: the file is missing"),
    "garbage header": (_garbage, r"\.hea: not a WFDB header"),
    "other channels": (_other_names, r"missing channel 'ppg'"),
    "channel without a sample": (_missing_channel, r"missing channel: ppg holds no samples"),
    "flat line": (_flat, r"flat ppg"),
    "rate of zero": (_no_rate, r"\.hea: the header claims a sampling rate of 0 Hz"),
    "link to nowhere": (_link_to_nowhere, r"\.hea: is a link that leads to no file"),
    "pipe": (_pipe, r"\.dat: is a pipe or a device, not a file"),
    "impossible length": (_too_long, r"\.hea: the header claims 999999999 samples, the signal file holds 1250"),
    "unknown format": (_no_format, r"\.hea: storage format 99 is unknown"),
}
"""What is done to a record, and what its reason has to say."""


def write_cohort(folder: Path, records: int, broken_share: float = 0.05) -> dict[str, str]:
    """Write so many records below a folder; return the way in which each broken one is broken, by its name.

    The same arguments give the same files; broken ones are spread evenly over the whole.
    """
    people = Cohort(n_subjects=SOURCES, records_per_subject=1, record_s=RECORD_S, fault_share=0, seed=5, noise="clean")
    sources = write(people, folder / ".sources")
    heads = {}
    for i in range(SOURCES):
        name = f"s{i + 1:03d}_1"
        text = (sources / name[:4] / f"{name}.hea").read_text(encoding="ascii")
        heads[i] = text.replace(name, "{name}"), sources / name[:4] / f"{name}.dat"
    count = round(records * broken_share)
    every = records // count if count else records + 1
    rows = [_HEAD]
    broken: dict[str, str] = {}
    ways = list(WAYS)
    for n in range(records):
        name, inside = f"r{n:05d}", f"g{n // PER_FOLDER:03d}"
        place = folder / inside
        place.mkdir(exist_ok=True)
        text, samples = heads[n % SOURCES]
        pair = Pair(place / f"{name}.hea", place / f"{name}.dat")
        pair.header.write_text(text.replace("{name}", name), encoding="ascii")
        os.link(samples, pair.samples)
        rows.append(f"{name},p{n % (records // 2 or 1):05d},1,{inside}/{name},50,1,170,70")
        if n % every == every - 1 and len(broken) < count:
            broken[name] = ways[len(broken) % len(ways)]
            WAYS[broken[name]][0](pair)
    (folder / "records.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    shutil.rmtree(sources)
    return broken


RECIPE = """
name: broken
title: Many small records
task: blood_pressure
data: {dataset: simulated_bp}
signal:
  - {step: bandpass, channel: ppg, name: ppg_12hz, low_hz: 0.5, high_hz: 12}
  - {step: detect_beats, channel: ppg_12hz}
  - {step: detect_beats, channel: abp}
  - {step: assess_quality, channel: ppg_12hz, raw: ppg}
windows:
  length_s: 8
  stride_s: 8
  channels: [ppg, ppg_12hz]
  label: reference
  reference: abp
  beats: ppg_12hz
  min_beats: 3
  min_sqi: 0
features:
  families: [rate]
  waveform: [ppg_12hz]
split: {scheme: subject_kfold, folds: 2, seeds: [0]}
model: {name: split_merge}
training: {epochs: 1}
"""
"""A preparation that is cheap, so that what a broken record costs would be seen beside it."""
