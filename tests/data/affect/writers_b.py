"""Writers of data sets in their own layouts: wristbands, tables, XML, HDF5. Contents are small, bytes are as in the sets."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.data.affect.writers_a import bdf

UNIX = 1644227574.0
RATES = {"BVP": 64, "EDA": 4, "TEMP": 4, "ACC": 32, "HR": 1}


def e4_streams(seconds: int = 60, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """Return streams of a wristband as the device writes them: heart rate begins 10 s late, the first EDA sample is 0."""
    rng = np.random.default_rng(seed)
    streams = {
        "BVP": np.round(rng.normal(0, 50, 64 * seconds), 2),
        "EDA": np.round(np.abs(rng.normal(1, 0.2, 4 * seconds)) + 0.01, 6),
        "TEMP": np.round(rng.normal(33, 0.1, 4 * seconds), 2),
        "ACC": rng.integers(-64, 64, (32 * seconds, 3)).astype(np.float64),
        "HR": np.round(rng.normal(70, 5, max(seconds - 10, 0)), 2),
    }
    streams["EDA"][0] = 0.0
    return streams


def e4_texts(streams: Mapping[str, NDArray[np.float64]], starts: Mapping[str, float] | None = None) -> dict[str, str]:
    """Return the files of an export: start, rate, samples; ACC has three columns with a blank after each comma."""
    texts = {}
    for name, values in streams.items():
        start = (starts or {}).get(name, UNIX + (10 if name == "HR" else 0))
        columns = values.reshape(len(values), -1)
        rows = [", ".join([f"{start:f}"] * columns.shape[1]), ", ".join([f"{RATES[name]:f}"] * columns.shape[1])]
        digits = {"ACC": 0, "EDA": 6}.get(name, 2)
        rows += [",".join(f"{v:.{digits}f}" for v in row) for row in columns]
        texts[f"{name}.csv"] = "\n".join(rows) + "\n"
    texts["IBI.csv"] = f"{UNIX:f}, IBI\n35.484375,0.890625\n36.343750,0.859375\n"
    texts["tags.csv"] = f"{UNIX + 12.5:.2f}\n{UNIX + 40:.2f}\n"
    return texts


def zipped(path: Path, texts: Mapping[str, str | bytes], prefix: str = "") -> Path:
    """Write texts into a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts.items():
            archive.writestr(prefix + name, text)
    return path


def folder(path: Path, texts: Mapping[str, str]) -> Path:
    """Write texts into a folder."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (path / name).write_text(text, encoding="utf-8", newline="")
    return path


def dasps(path: Path, data: NDArray[np.float32] | None = None, labels: NDArray[np.float64] | None = None) -> None:
    """Write a subject as MATLAB v7.3 stores it: the axes of the arrays run backwards, and a block of text leads the HDF5."""
    import h5py

    rng = np.random.default_rng(1)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=512) as file:
        file["data"] = rng.normal(0, 10, (12, 1920, 14)).astype(np.float32) if data is None else data
        file["labels"] = dasps_labels() if labels is None else labels
        file["hamilton"] = np.array([[21.0], [30.0]])
    held = bytearray(buffer.getvalue())
    held[:19] = b"MATLAB 7.3 MAT-file"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(held)


def dasps_labels() -> NDArray[np.float64]:
    """Return ratings, valence then arousal, one a situation and so the same for two windows; never equal to each other."""
    return np.repeat([[1.0, 2, 3, 4, 5, 6], [9, 8, 7, 3, 2, 1]], 2, axis=1)


def dasps_table(path: Path, subject: str = "S02", labels: NDArray[np.float64] | None = None) -> None:
    """Write ratings.csv."""
    values = (dasps_labels() if labels is None else labels)[:, ::2]
    rows = [f"{subject},{n + 1},{values[0, n]:g},{values[1, n]:g},Normal,Normal" for n in range(6)]
    path.write_text("\n".join(["subject,situation,valence,arousal,2_class,4_class", *rows]) + "\n", encoding="utf-8")


def case(root: Path, subject: int = 1, clip_s: int = 3, order: tuple[int, ...] = (3, 1, 8, 2)) -> dict[str, Any]:
    """Write one person of CASE: blue screens of 1 s between clips; physiology in rows of 1 ms, ratings of 50 ms.

    Each sample of ``ecg`` tells its own time, each rating too: whatever is misplaced shows.
    """
    spans, now = [(10, 0, 1000)], 1000
    for number in order:
        spans += [(number, now, now + clip_s * 1000), (11, now + clip_s * 1000, now + clip_s * 1000 + 1000)]
        now += clip_s * 1000 + 1000
    spans.append((12, now, now + 500))
    end = now + 500
    video: NDArray[np.int64] = np.zeros(end, np.int64)
    for number, first, last in spans:
        video[first:last] = number
    time = np.arange(end)
    body = [f"{t},{t / 1000:.3f},{t % 7},0.5,1.5,33.1,1,2,3,{v}" for t, v in zip(time, video, strict=True)]
    stamps = np.arange(0, end, 50)
    valence, arousal = 0.5 + 4 * stamps / end, 9.5 - 4 * stamps / end
    rated = [f"{t},{a:.4f},{b:.4f},{video[t]}" for t, a, b in zip(stamps, valence, arousal, strict=True)]
    base = root / "interpolated"
    name = f"sub_{subject}.csv"
    folder(
        base / "physiological",
        {name: "\n".join(["daqtime,ecg,bvp,gsr,rsp,skt,emg_zygo,emg_coru,emg_trap,video", *body]) + "\n"},
    )
    folder(base / "annotations", {name: "\n".join(["jstime,valence,arousal,video", *rated]) + "\n"})
    return {"spans": spans, "stamps": stamps, "valence": np.round(valence, 4), "arousal": np.round(arousal, 4)}


def kemocon(
    root: Path, pid: int = 1, debate_s: int = 30, devices: tuple[str, ...] = ("A013E1",), rated: int | None = None
) -> dict[str, float]:
    """Write one participant of K-EmoCon: stamps in ms, 150.25 s of rest before a debate that is rated every 5 s.

    With two devices the rows of both are mixed; those of the second are 1000 higher.
    """
    init = 1547000000123.0
    start, stop = init + 150250, init + 150250 + 1000 * debate_s
    files = {"BVP": 64, "EDA": 4, "TEMP": 4, "HR": 1}
    texts = {}
    for name, fs in files.items():
        rows = ["timestamp,value,device_serial"]
        for n in range(int((stop - init) / 1000 * fs)):
            rows += [f"{init + 1000 * n / fs:.3f},{n + 1000 * d},{serial}" for d, serial in enumerate(devices)]
        texts[f"E4_{name}.csv"] = "\n".join(rows) + "\n"
    moved = [f"{init + 1000 * n / 32:.3f},64,-32,{n % 64},{devices[0]}" for n in range(int((stop - init) / 1000 * 32))]
    texts["E4_ACC.csv"] = "\n".join(["timestamp,x,y,z,device_serial", *moved]) + "\n"
    folder(root / "e4_data" / str(pid), texts)
    folder(
        root / "neurosky_polar_data" / str(pid), {"Polar_HR.csv": f"timestamp,value\n{start:.0f},71\n{start + 1000:.0f},72\n"}
    )
    count = debate_s // 5 if rated is None else rated
    lines = [f"{5 * (n + 1)},{1 + n % 5},{5 - n % 5},1,1,1,1,1" for n in range(count)]
    text = "\n".join(["seconds,arousal,valence,cheerful,happy,angry,nervous,sad", *lines]) + "\n"
    notes = root / "emotion_annotations"
    folder(notes / "self_annotations", {f"P{pid}.self.csv": text})
    folder(
        notes / "partner_annotations",
        {f"P{pid}.partner.csv": text.replace(",1,1,1,1,1", ",2,2,2,2,2").replace("5,1,5", "5,2,3")},
    )
    folder(notes / "aggregated_external_annotations", {f"P{pid}.external.csv": text})
    table = root / "metadata" / "subjects.csv"
    held = table.read_text(encoding="utf-8") if table.is_file() else "pid,initTime,startTime,endTime\n"
    folder(table.parent, {"subjects.csv": held + f"{pid},{init:.0f},{start:.0f},{stop:.0f}\n"})
    return {"init": init, "start": start, "stop": stop}


def mahnob(
    root: Path,
    session: int = 2,
    subject: int = 1,
    base: int = 0x18FF00,
    marks_s: tuple[float, ...] = (30.0, 50.0),
    attributes: Mapping[str, str] | None = None,
    seconds: int = 80,
) -> dict[str, NDArray[np.int64]]:
    """Write one session of MAHNOB-HCI: BDF of 256 Hz and session.xml; codes of Status lie under the amplifier's bits."""
    fs = 256
    rng = np.random.default_rng(session)
    names = ["Fp1", "AF3", "Oz", "EXG1", "EXG2", "EXG3", "GSR1", "Resp", "Temp"]
    signals = {name: rng.integers(1000, 30000, fs * seconds).astype(np.int64) for name in names}
    status = np.full(fs * seconds, base, np.int64)
    for mark in marks_s:
        status[int(mark * fs) : int(mark * fs) + 20] |= 16
    signals["Status"] = status
    place = root / "Sessions" / str(session)
    place.mkdir(parents=True)
    path = place / f"Part_{subject}_S_Trial{session}_emotion.bdf"
    bdf(path, signals, fs)
    _set_unit(path, names.index("GSR1"), len(signals), "Ohm")
    facts = {
        "sessionId": str(session), "date": "2009-07-01", "time": "12:00:00", "experimentType": "emotion elicitation",
        "isStim": "1", "feltEmo": "4", "feltArsl": "3", "feltVlnc": "7", "feltCtrl": "5", "feltPred": "6", "cutNr": "10",
        "cutLenSec": "20.0", "mediaFile": "69.avi",
    }  # fmt: skip
    facts |= attributes or {}
    words = " ".join(f'{k}="{v}"' for k, v in facts.items() if v)
    track = f'<track type="Physiological" filename="{path.name}"/>'
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<session {words}><subject id="{subject}"/>{track}</session>\n'
    (place / "session.xml").write_text(text, encoding="utf-8")
    return signals


def _set_unit(path: Path, position: int, count: int, unit: str) -> None:
    held = bytearray(path.read_bytes())
    at = 256 + count * (16 + 80) + 8 * position
    held[at : at + 8] = unit.encode().ljust(8)
    path.write_bytes(held)


def gameemo(root: Path, subject: int = 1, game: int = 1, rows: int = 640, *, raw: bool = False) -> NDArray[np.float64]:
    """Write one game of GAMEEMO: 14 names in the set's own order, each line with a comma at its end."""
    names = "AF3,AF4,F3,F4,F7,F8,FC5,FC6,O1,O2,P7,P8,T7,T8"
    values = np.round(np.random.default_rng(game).normal(0, 20, (rows, 14)), 4)
    word, kind = ("Raw", "AllRawChannels") if raw else ("Preprocessed", "AllChannels")
    text = "\n".join([f"{names},", *(",".join(f"{v:.4f}" for v in row) + "," for row in values)]) + "\n"
    place = root / "GAMEEMO" / f"(S{subject:02d})" / f"{word} EEG Data" / ".csv format"
    folder(place, {f"S{subject:02d}G{game}{kind}.csv": text})
    return values
