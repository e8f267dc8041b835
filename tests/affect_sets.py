"""Small data sets of feelings in their own layouts, with hearts that beat and skin that sweats, and what each window was rated.

Layouts come from the writers that the readers are tested with; here they are filled with signals from which every family of
features can be known, for four people each.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from biosig_mtl.data.affect import case as case_reader
from biosig_mtl.data.affect import deap as deap_reader
from biosig_mtl.data.affect import dreamer as dreamer_reader
from biosig_mtl.data.affect import seed as seed_reader
from biosig_mtl.data.manifest import load
from tests.data.affect import writers_a, writers_b

F64 = NDArray[np.float64]
PEOPLE = 4
# Columns of AMIGOS that are NaN throughout: F7; both leads of the ECG.
LOST = {"P03/N1": [1], "P04/10": [14, 15]}


@dataclass(frozen=True)
class Made:
    """A data set: how many records its folder holds, which of them are refused and why, and how windows were rated.

    ``rated`` takes record and onset in seconds, and returns each target on the scale of the task. ``unknown`` names families of
    features that a record cannot have, for it lacks their channel.
    """

    records: int
    refused: Mapping[str, str]
    rated: Callable[[str, float], tuple[float, ...]]
    unknown: Mapping[str, str] = field(default_factory=dict)


# -------------------------------------------------------------------------------------------------------------- signals
class Body:
    """One recording of one person: all channels follow the same heart and the same breath."""

    def __init__(self, name: str, seconds: float) -> None:
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.seconds = seconds
        t = np.arange(0, seconds + 4, 0.01)
        rate = (self.rng.uniform(60, 85) / 60) * (1 + 0.05 * np.sin(1.6 * t) + 0.04 * np.sin(0.63 * t))
        self.beats = np.interp(np.arange(1, np.cumsum(rate)[-1] / 100), np.cumsum(rate) / 100, t) - 2

    def times(self, fs: float) -> F64:
        return np.arange(round(self.seconds * fs)) / fs

    def since_beat(self, fs: float) -> F64:
        t = self.times(fs)
        place = np.searchsorted(self.beats, t, side="right") - 1
        return np.asarray(np.where(place >= 0, t - self.beats[np.maximum(place, 0)], t + 1))

    def ecg(self, fs: float) -> F64:
        t = self.since_beat(fs)
        waves = ((0.10, 0.10, 0.02), (1.0, 0.22, 0.011), (-0.2, 0.25, 0.01), (0.25, 0.48, 0.04))
        return np.asarray(sum(a * np.exp(-(((t - m) / s) ** 2) / 2) for a, m, s in waves) + 0.01 * self.noise(fs))

    def ppg(self, fs: float) -> F64:
        t = self.since_beat(fs)
        waves = ((1.0, 0.2, 0.07), (0.4, 0.45, 0.09))
        return np.asarray(50 * sum(a * np.exp(-(((t - m) / s) ** 2) / 2) for a, m, s in waves) + 0.2 * self.noise(fs))

    def eda(self, fs: float) -> F64:
        t = self.times(fs)
        after = t[:, None] - np.arange(3, self.seconds, 11) - self.rng.uniform(0, 3)
        since = np.maximum(after, 0)
        responses = (np.exp(-since / 4) - np.exp(-since / 0.7)).sum(axis=1)
        return np.asarray(4 + 0.01 * t + 0.5 * responses)

    def temp(self, fs: float) -> F64:
        return np.asarray(33 + 0.003 * self.times(fs) + 0.01 * self.noise(fs))

    def resp(self, fs: float) -> F64:
        return np.asarray(np.sin(1.6 * self.times(fs)) + 0.01 * self.noise(fs))

    def eeg(self, fs: float, channels: int) -> F64:
        """Return (time, channel) in µV: a background that falls with frequency, partly common, and an alpha rhythm."""
        t = self.times(fs)[:, None]
        spectrum = np.fft.rfft(self.rng.standard_normal((len(t), channels + 1)), axis=0)
        hz = np.fft.rfftfreq(len(t), 1 / fs)[:, None]
        background = np.fft.irfft(spectrum / np.maximum(hz, 1) ** 0.5, len(t), axis=0)
        alpha = self.rng.uniform(4, 12) * np.sin(2 * np.pi * 10 * t + self.rng.uniform(0, 0.5, channels))
        return np.asarray(alpha * self.rng.uniform(0.7, 1, channels) + 20 * (background[:, :-1] + 2 * background[:, -1:]))

    def noise(self, fs: float) -> F64:
        return np.asarray(self.rng.standard_normal(round(self.seconds * fs)))


def ratings(person: int, trials: int) -> F64:
    """Return valence and arousal of every trial, 1 to 9: all classes come up, and no trial is rated alike on both."""
    n = np.arange(trials)
    return np.stack([1 + (2 * n + 3 * person) % 9, 1 + (5 * n + 2 * person + 4) % 9], axis=1).astype(np.float64)


def by_record(table: Mapping[str, tuple[float, ...]]) -> Callable[[str, float], tuple[float, ...]]:
    return lambda record, _: table[record]


# ------------------------------------------------------------------------------------------------- EEG and one rating a trial
def deap(root: Path, patch: pytest.MonkeyPatch) -> Made:
    """3 s of rest and 40 s of four clips; one rating is off its scale."""
    seconds, trials = 43, 4
    patch.setattr(deap_reader, "TRIALS", trials)
    patch.setattr(deap_reader, "SAMPLES", seconds * 128)
    table: dict[str, tuple[float, ...]] = {}
    for person in range(PEOPLE):
        data = np.empty((trials, 40, seconds * 128))
        for trial in range(trials):
            body = Body(f"s{person}/{trial}", seconds)
            data[trial, :32] = body.eeg(128, 32).T
            data[trial, 32:36] = body.eeg(128, 4).T
            data[trial, 36] = 1e6 / body.eda(128)
            data[trial, 37:40] = body.resp(128), body.ppg(128), body.temp(128)
        scores = np.concatenate([ratings(person, trials), np.full((trials, 2), 5.5)], axis=1)
        name = f"s{person + 1:02d}"
        table |= {f"{name}/{n + 1:02d}": (scores[n, 0], scores[n, 1]) for n in range(trials)}
        if person == PEOPLE - 1:
            scores[trials - 1, 1] = 9.5
        folder = root / "data_preprocessed_python"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.dat").write_bytes(writers_a.Python2().dump({"labels": scores, "data": data}))
    return Made(PEOPLE * trials, {"s04/04": "trial 4: arousal is '9.5'"}, by_record(table))


def dreamer(root: Path, patch: pytest.MonkeyPatch) -> Made:
    """12 s of rest, then clips of 64, 66 and 68 s, rated 1 to 5."""
    trials, rest = 3, 12
    patch.setattr(dreamer_reader, "TRIALS", trials)
    content = writers_a.dreamer(people=PEOPLE, rest_s=rest, clip_s=1, trials=trials)
    table: dict[str, tuple[float, ...]] = {}
    for number in range(PEOPLE):
        person = content["DREAMER"]["Data"][0, number]
        for trial in range(trials):
            body = Body(f"{number}/{trial}", rest + 64 + 2 * trial)
            eeg, ecg = 4200 + body.eeg(128, 14), np.stack([body.ecg(256), 0.5 * body.ecg(256)], axis=1)
            for phase, part in (("baseline", slice(None, rest)), ("stimuli", slice(rest, None))):
                person["EEG"][phase][trial, 0] = eeg[_scaled(part, 128)]
                person["ECG"][phase][trial, 0] = ecg[_scaled(part, 256)]
        given = 1 + (ratings(number, trials) - 1) % 5
        person["ScoreValence"], person["ScoreArousal"] = given[:, :1], given[:, 1:]
        # 1 to 5 is 1, 3, 5, 7, 9: four edges between five classes.
        table |= {f"S{number + 1:02d}/{n + 1:02d}": (2 * given[n, 0] - 1, 2 * given[n, 1] - 1) for n in range(trials)}
    writers_a.save(root / "DREAMER.mat", content)
    return Made(PEOPLE * trials, {}, by_record(table))


def _scaled(part: slice, by: int) -> slice:
    return slice(part.start and part.start * by, part.stop and part.stop * by)


def amigos(root: Path, patch: pytest.MonkeyPatch) -> Made:
    """5 s of rest and 67 s of three videos, in an order of each person's own.

    One person lacks a video, in one trial an electrode gave nothing, in another one neither lead of the ECG did.
    """
    del patch
    table: dict[str, tuple[float, ...]] = {}
    refused: dict[str, str] = {}
    for number in range(PEOPLE):
        videos = np.roll(["10", "13", "N1"], number).tolist()
        tables, own = [], []
        given = ratings(number, 3)
        for trial, video in enumerate(videos):
            body = Body(f"P{number}/{video}", 72)
            parts = [body.eeg(128, 14), *(x[:, None] for x in (body.ecg(128), -body.ecg(128), body.eda(128)))]
            tables.append(np.concatenate(parts, axis=1))
            tables[-1][:, LOST.get(f"P{number + 1:02d}/{video}", [])] = np.nan
            # Arousal comes first.
            own.append(np.array([[given[trial, 1], given[trial, 0], 5.5, 6.5, 3.0, 0, 0, 1, 0, 0, 0, 0]]))
            table[f"P{number + 1:02d}/{video}"] = (given[trial, 0], given[trial, 1])
        if number == 1:
            tables[2] = own[2] = np.empty((0, 0))
            refused[f"P02/{videos[2]}"] = "has no data"
        content = {
            "joined_data": writers_a.cells(tables, row=True),
            "labels_selfassessment": writers_a.cells(own, row=True),
            "labels_ext_annotation": writers_a.cells([np.empty((0, 0))] * 3, row=True),
            "VideoIDs": writers_a.cells(videos, row=True),
        }
        writers_a.save(root / f"Data_Preprocessed_P{number + 1:02d}.mat", content)
    return Made(PEOPLE * 3, refused, by_record(table), {"P04/10": "ecg_hrv"})


def mahnob(root: Path, patch: pytest.MonkeyPatch) -> Made:
    """8 s of rest and 32 s of two films; a further session is of another experiment."""
    del patch
    names = [n for n, info in load("mahnob_hci").channel_infos().items() if info.kind == "eeg"]
    table: dict[str, tuple[float, ...]] = {}
    for number in range(PEOPLE * 2):
        person, trial = divmod(number, 2)
        given = ratings(person, 2)[trial]
        felt = {"feltVlnc": f"{given[0]:g}", "feltArsl": f"{given[1]:g}", "mediaFile": f"{trial}.avi", "cutLenSec": "32.0"}
        session = 2 * number + 2
        status = writers_b.mahnob(root, session, person + 1, marks_s=(8.0, 40.0), attributes=felt, seconds=42)["Status"]
        body = Body(f"{person}/{trial}", 42)
        ecg = 1000 * body.ecg(256)
        microvolts = dict(zip(names, body.eeg(256, 32).T, strict=True))
        microvolts |= {"EXG1": 5 * body.noise(256), "EXG2": ecg + 300, "EXG3": -ecg}
        microvolts |= {"GSR1": 1e6 / body.eda(256), "Resp": 1000 * body.resp(256), "Temp": body.temp(256)}
        signals = {name: np.rint(32 * x).astype(np.int64) for name, x in microvolts.items()} | {"Status": status}
        path = next((root / "Sessions" / str(session)).glob("*.bdf"))
        writers_a.bdf(path, signals, 256)
        writers_b._set_unit(path, list(signals).index("GSR1"), len(signals), "Ohm")
        table[f"session{session}"] = (given[0], given[1])
    writers_b.mahnob(root, 99, 1, attributes={"feltVlnc": "", "feltArsl": ""}, seconds=2, marks_s=())
    return Made(PEOPLE * 2 + 1, {"session99": "no feltArsl"}, by_record(table))


def seed(root: Path, patch: pytest.MonkeyPatch) -> Made:
    """Fifteen clips of 9 s, named negative, neutral or positive: 1, 5, 9 on the scale of the task."""
    del patch
    classes = np.array([1, 0, -1, -1, 0, 1, -1, 0, 1, 1, 0, -1, 0, 1, -1])
    table: dict[str, tuple[float, ...]] = {}
    for person in range(1, PEOPLE + 1):
        name = f"{person}_20131027"
        body = Body(name, 9 * 15)
        trials = np.split(body.eeg(200, len(seed_reader.ELECTRODES)).T, 15, axis=1)
        content = {f"djc_eeg{n + 1}": trial for n, trial in enumerate(trials)}
        writers_a.save(root / "Preprocessed_EEG" / f"{name}.mat", content, compress=False)
        table |= {f"{person}/20131027/{n + 1:02d}": (5.0 + 4.0 * c, np.nan) for n, c in enumerate(classes.tolist())}
    writers_a.save(root / "Preprocessed_EEG" / "label.mat", {"label": classes[None].astype(np.int16)})
    return Made(PEOPLE * 15, {}, by_record(table))


def dasps(root: Path, patch: pytest.MonkeyPatch) -> Made:
    """Two windows of 15 s of each of six situations share one rating."""
    del patch
    table: dict[str, tuple[float, ...]] = {}
    rows = ["subject,situation,valence,arousal,2_class,4_class"]
    for person in range(PEOPLE):
        name, given = f"S{person + 1:02d}", ratings(person, 6)
        data = Body(name, 12 * 15).eeg(128, 14).reshape(12, 1920, 14).astype(np.float32)
        writers_b.dasps(root / "mat" / f"{name}.mat", data, np.repeat(given.T, 2, axis=1))
        for n, (valence, arousal) in enumerate(given.tolist(), start=1):
            rows.append(f"{name},{n},{valence:g},{arousal:g},Normal,Normal")
            table |= dict.fromkeys((f"{name}/situation{n}/listen", f"{name}/situation{n}/recall"), (valence, arousal))
    (root / "ratings.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return Made(PEOPLE * 12, {}, by_record(table))


# --------------------------------------------------------------------------------------------------- ratings that go on and on
def case(root: Path, patch: pytest.MonkeyPatch) -> Made:
    """Three clips of 36 s at 1000 Hz, rated 20 times a second on 0.5 to 9.5."""
    del patch
    clip_s, order = 36, (3, 1, 8)
    tracks: dict[str, F64] = {}
    for number in range(1, PEOPLE + 1):
        made = writers_b.case(root, number, clip_s, order)
        path = root / "interpolated" / "physiological" / f"sub_{number}.csv"
        video = np.loadtxt(path, delimiter=",", skiprows=1, usecols=9)
        body = Body(path.stem, len(video) / 1000)
        waves = [body.ecg(1000), body.ppg(1000), body.eda(1000), body.resp(1000), body.temp(1000)]
        rows = np.column_stack([np.arange(len(video)), *waves, *(np.zeros(len(video)),) * 3, video])
        with path.open("w", encoding="utf-8") as file:
            file.write("daqtime,ecg,bvp,gsr,rsp,skt,emg_zygo,emg_coru,emg_trap,video\n")
            np.savetxt(file, rows, "%d,%.4f,%.4f,%.4f,%.4f,%.3f,%d,%d,%d,%d")
        for which, first, stop in made["spans"]:
            inside = (made["stamps"] >= first) & (made["stamps"] < stop)
            both = np.stack([made["valence"][inside], made["arousal"][inside]])
            if which in case_reader.STIMULI:
                tracks[f"{path.stem}/{case_reader.STIMULI[which]}"] = 1 + (both - 0.5) / 9 * 8

    def rated(record: str, onset_s: float) -> tuple[float, ...]:
        return tuple(tracks[record][:, round(20 * onset_s) : round(20 * (onset_s + 10))].mean(axis=1).tolist())

    return Made(PEOPLE * len(order), {}, rated)


def kemocon(root: Path, patch: pytest.MonkeyPatch) -> Made:
    """Debates of 100 s with a rating of 1 to 5 every 5 s, after 150.25 s; participant 2 is not among the complete ones."""
    del patch
    debate_s = 100
    for pid in (1, 2, 4, 5, 8):
        spans = writers_b.kemocon(root, pid, debate_s)
        body = Body(f"P{pid}", (spans["stop"] - spans["init"]) / 1000)
        for name, fs, values in (("BVP", 64, body.ppg(64)), ("EDA", 4, body.eda(4)), ("TEMP", 4, body.temp(4))):
            rows = [f"{spans['init'] + 1000 * n / fs:.3f},{v:.4f},A013E1" for n, v in enumerate(values.tolist())]
            text = "\n".join(["timestamp,value,device_serial", *rows]) + "\n"
            (root / "e4_data" / str(pid) / f"E4_{name}.csv").write_text(text, encoding="utf-8")

    def rated(record: str, onset_s: float) -> tuple[float, ...]:
        # The record begins 0.75 s before the rest, so the debate begins at 151 s; one to five is one to nine.
        del record
        at = onset_s + (np.arange(1000) + 0.5) / 100 - 151
        steps = np.where((at >= 0) & (at < debate_s), at // 5 % 5, np.nan)
        return float(np.nanmean(1 + 2 * (4 - steps))), float(np.nanmean(1 + 2 * steps))

    return Made(5, {"P2": "not among the 21 participants"}, rated)


def wesad(root: Path, patch: pytest.MonkeyPatch) -> Made:
    """Five states of 130 s, 5 s apart; the manikins of each are known."""
    del patch
    states = (("Base", 1), ("Fun", 3), ("Medi 1", 4), ("TSST", 2), ("Medi 2", 4))
    length, gap = 130, 5
    label = np.concatenate([np.repeat(np.array([0, state], np.int32), [gap * 700, length * 700]) for _, state in states])
    seconds = len(label) // 700
    marked: dict[str, F64] = {}
    for number in range(2, 2 + PEOPLE):
        name = f"S{number}"
        body = Body(name, seconds)
        content = writers_a.wesad(1, label)
        rest = {n: np.zeros((seconds * 700, x.shape[1]), x.dtype) for n, x in content["signal"]["chest"].items()}
        wrist = {"BVP": body.ppg(64), "EDA": body.eda(4), "TEMP": body.temp(4)}
        content["signal"] = {
            "chest": rest,
            "wrist": {"ACC": np.tile([0.0, 0.0, 64.0], (seconds * 32, 1))} | {n: x[:, None] for n, x in wrist.items()},
        }
        given = marked[name] = ratings(number, len(states))
        quest = ["# ORDER;" + ";".join(condition for condition, _ in states), *(f"# DIM;{v:g};{a:g}" for v, a in given)]
        (root / name).mkdir()
        (root / name / f"{name}.pkl").write_bytes(writers_a.Python2().dump(content | {"subject": name}))
        (root / name / f"{name}_quest.csv").write_text("\n".join(quest) + "\n", encoding="utf-8")

    def rated(record: str, onset_s: float) -> tuple[float, ...]:
        place = int(onset_s // (length + gap))
        valence, arousal = marked[record][place].tolist()
        return valence, arousal, float(states[place][0] == "TSST")

    return Made(PEOPLE, {}, rated)


def stress_predict(root: Path, patch: pytest.MonkeyPatch) -> Made:
    """Eight minutes of a wristband, stress in the middle of them; the last person has no labels."""
    del patch
    seconds, stress = 480, (150, 330)
    for number in range(1, PEOPLE + 2):
        name = f"S{number:02d}"
        body = Body(name, seconds)
        streams = writers_b.e4_streams(seconds, number) | {"BVP": body.ppg(64), "EDA": body.eda(4), "TEMP": body.temp(4)}
        writers_b.zipped(root / f"{name}.zip", writers_b.e4_texts(streams))
        rows = [f"{int(writers_b.UNIX) + t},{int(stress[0] <= t < stress[1])}" for t in range(seconds)]
        if number <= PEOPLE:
            text = "\n".join(["time_unix_s,stress", *rows]) + "\n"
            (root / f"{name}_labels.csv").write_text(text, encoding="utf-8")
    return Made(PEOPLE + 1, {"S05": "no labels"}, lambda _, onset_s: (float(stress[0] <= onset_s < stress[1]),))


SETS: dict[str, Callable[[Path, pytest.MonkeyPatch], Made]] = {
    "deap": deap,
    "dreamer": dreamer,
    "amigos": amigos,
    "mahnob_hci": mahnob,
    "seed": seed,
    "dasps": dasps,
    "case": case,
    "kemocon": kemocon,
    "wesad": wesad,
    "stress_predict": stress_predict,
}
