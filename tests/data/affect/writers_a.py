"""Writers of files as the data sets have them, byte by byte where that matters: none of the sets may be passed on."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


# ------------------------------------------------------------------------------------------------------------ Python 2
class Python2:
    """What cPickle of Python 2 writes with protocol 2: texts as bytes (BINSTRING), arrays through ``numpy.core``."""

    def __init__(self) -> None:
        self.parts: list[bytes] = [b"\x80\x02"]
        self.memo: dict[str, int] = {}
        self.count = 0

    def dump(self, value: object) -> bytes:
        self.value(value)
        return b"".join([*self.parts, b"."])

    def value(self, value: object) -> None:
        if isinstance(value, dict):
            self.parts.append(b"}" + self.put() + b"(")
            for key, item in value.items():
                self.value(key)
                self.value(item)
            self.parts.append(b"u")
        elif isinstance(value, str):
            self.parts.append(self.text(value.encode("latin-1")) + self.put())
        elif isinstance(value, np.ndarray):
            self.array(value)
        else:
            raise TypeError(type(value))

    def put(self) -> bytes:
        self.count += 1
        return b"q" + bytes([self.count]) if self.count < 256 else b"r" + struct.pack("<I", self.count)

    def named(self, module: str, name: str) -> bytes:
        key = f"{module} {name}"
        if key in self.memo:
            return b"h" + bytes([self.memo[key]])
        word = b"c" + module.encode() + b"\n" + name.encode() + b"\n" + self.put()
        self.memo[key] = self.count
        return word

    @staticmethod
    def text(raw: bytes) -> bytes:
        return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw

    @staticmethod
    def whole(number: int) -> bytes:
        if 0 <= number < 256:
            return b"K" + bytes([number])
        return b"M" + struct.pack("<H", number) if 0 <= number < 65536 else b"J" + struct.pack("<i", number)

    def array(self, array: NDArray[Any]) -> None:
        shape = b"".join(self.whole(n) for n in array.shape)
        small = {1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(array.ndim)
        self.parts.append(
            self.named("numpy.core.multiarray", "_reconstruct")
            + self.named("numpy", "ndarray")
            + b"K\x00\x85"
            + self.put()
            + b"U\x01b"
            + self.put()
            + b"\x87"
            + self.put()
            + b"R"
            + self.put()
            + b"(K\x01"
            + (shape + small if small else b"(" + shape + b"t")
            + self.put()
        )
        self.dtype(array.dtype)
        self.parts += [b"\x89", self.text(np.ascontiguousarray(array).tobytes()), self.put(), b"t", self.put(), b"b"]

    def dtype(self, dtype: np.dtype[Any]) -> None:
        code = dtype.str[1:]
        if code in self.memo:
            self.parts.append(b"h" + bytes([self.memo[code]]))
            return
        self.parts.append(self.named("numpy", "dtype") + b"U" + bytes([len(code)]) + code.encode() + self.put())
        self.parts.append(b"K\x00K\x01\x87" + self.put() + b"R" + self.put())
        self.memo[code] = self.count
        order = b"|" if dtype.itemsize == 1 else b"<"
        self.parts.append(
            b"(K\x03U\x01" + order + self.put() + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t" + self.put() + b"b"
        )


def deap(path: Path, trials: int = 40, samples: int = 8064, labels: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Write ``sNN.dat`` and return its data; the GSR is a resistance around 100 kOhm."""
    rng = np.random.default_rng(7)
    data = rng.standard_normal((trials, 40, samples))
    data[:, 36] = 1e5 + 1e3 * data[:, 36]
    scores = deap_scores(trials) if labels is None else labels
    path.write_bytes(Python2().dump({"labels": scores, "data": data}))
    return data


def deap_scores(trials: int = 40) -> NDArray[np.float64]:
    """Return ratings that differ in every column: valence, arousal, dominance, liking."""
    scores = np.linspace(1, 9, trials)[:, None] * [1, 0, 0, 0] + [0.0, 7.6, 6.9, 7.83]
    scores[0] = [7.71, 7.6, 6.9, 7.83]
    return scores


def wesad(seconds: int = 40, states: NDArray[np.int32] | None = None) -> dict[str, Any]:
    """Return the content of ``S2.pkl``: chest, wrist, label."""
    rng = np.random.default_rng(3)

    def made(rate: int, columns: int, dtype: str = "f8") -> NDArray[Any]:
        return rng.standard_normal((seconds * rate, columns)).astype(dtype)

    chest = {name: made(700, 1) for name in ("ECG", "EMG", "EDA", "Resp")} | {"ACC": made(700, 3), "Temp": made(700, 1, "f4")}
    wrist = {"ACC": np.round(64 * made(32, 3)), "BVP": made(64, 1), "EDA": made(4, 1), "TEMP": made(4, 1)}
    label = np.zeros(seconds * 700, np.int32) if states is None else states
    return {"signal": {"chest": chest, "wrist": wrist}, "label": label, "subject": "S2"}


# -------------------------------------------------------------------------------------------------------------- MATLAB
def cells(items: Sequence[Any], *, row: bool = False) -> NDArray[Any]:
    """Return an array of objects, which `savemat` writes as cells."""
    held = np.empty((1, len(items)) if row else (len(items), 1), object)
    held.ravel()[:] = None
    for number, item in enumerate(items):
        held[(0, number) if row else (number, 0)] = item
    return held


def save(path: Path, content: Mapping[str, Any], *, compress: bool = True) -> None:
    import scipy.io

    path.parent.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(path, dict(content), do_compression=compress)


def dreamer(people: int = 2, rest_s: int = 2, clip_s: int = 3, trials: int = 18) -> dict[str, Any]:
    """Return the content of ``DREAMER.mat``, with short clips of their own lengths."""
    rng = np.random.default_rng(5)

    def phase(seconds: int, rate: int, columns: int, step: int) -> NDArray[Any]:
        return cells([rng.standard_normal(((seconds + step * (n % 3)) * rate, columns)) for n in range(trials)])

    def person(number: int) -> dict[str, Any]:
        return {
            "Age": str(22 + number),
            "Gender": ("male", "female")[number % 2],
            "EEG": {"baseline": phase(rest_s, 128, 14, 0), "stimuli": phase(clip_s, 128, 14, 1)},
            "ECG": {"baseline": phase(rest_s, 256, 2, 0), "stimuli": phase(clip_s, 256, 2, 1)},
            "ScoreValence": (1 + np.arange(trials)[:, None] % 5).astype(float),
            "ScoreArousal": (1 + (np.arange(trials)[:, None] + 2 + number) % 5).astype(float),
            "ScoreDominance": np.full((trials, 1), 3.0),
        }

    names = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4")
    return {
        "DREAMER": {
            "Data": cells([person(n) for n in range(people)], row=True),
            "EEG_SamplingRate": 128,
            "ECG_SamplingRate": 256,
            "EEG_Electrodes": cells(names, row=True),
            "noOfSubjects": people,
            "noOfVideoSequences": trials,
            "Version": "1.0.2",
        }
    }


VIDEOS = ("10", "13", "138", "18", "19", "20", "23", "30", "31", "34", "36", "4", "5", "58", "80", "9", "N1", "P1", "B1", "U1")


def amigos(seconds: int = 52, videos: Sequence[str] = VIDEOS, long: bool = True) -> dict[str, Any]:
    """Return the content of ``Data_Preprocessed_P01.mat``: arousal 2, valence 8 by oneself; valence first from outside.

    Videos 10 and 138 last ``seconds``, the others little more than their rest, so that files stay small.
    """
    rng = np.random.default_rng(11)
    nothing = np.empty((0, 0))

    def table(video: str) -> NDArray[Any]:
        return rng.standard_normal(((seconds if video in {"10", "138"} else 6) * 128, 17))

    held = [n < 16 or long for n in range(len(videos))]
    segments = (seconds - 5) // 20 + 2
    outside = np.stack([np.arange(segments), np.linspace(0.1, 0.4, segments), np.linspace(-0.4, -0.1, segments)], axis=1)
    own = np.array([[2.0, 8.0, 5.5, 6.5, 3.0, 0, 0, 1, 0, 0, 0, 0]])
    return {
        "joined_data": cells([table(v) if h else nothing for v, h in zip(videos, held, strict=True)], row=True),
        "labels_selfassessment": cells([own if h else nothing for h in held], row=True),
        "labels_ext_annotation": cells([outside if h else nothing for h in held], row=True),
        "VideoIDs": cells(list(videos), row=True),
    }


# ----------------------------------------------------------------------------------------------------------------- BDF
def bdf(path: Path, signals: Mapping[str, NDArray[Any]], fs: int) -> None:
    """Write a BioSemi file of 24-bit whole numbers with data records of 1 s; every unit of the converter is 1/32 µV."""
    names, count = list(signals), len(signals)
    records = len(next(iter(signals.values()))) // fs

    def column(width: int, texts: Sequence[str]) -> bytes:
        return b"".join(text.encode().ljust(width) for text in texts)

    status = [name == "Status" for name in names]
    head = b"\xffBIOSEMI" + b" " * 160 + b"01.01.1001.00.00" + str(256 * (count + 1)).encode().ljust(8) + b"24BIT".ljust(44)
    head += str(records).encode().ljust(8) + b"1".ljust(8) + str(count).encode().ljust(4)
    head += column(16, names) + column(80, [""] * count) + column(8, ["Boolean" if s else "uV" for s in status])
    head += column(8, ["-8388608" if s else "-262144" for s in status])
    head += column(8, ["8388607" if s else "262144" for s in status])
    head += column(8, ["-8388608"] * count) + column(8, ["8388607"] * count)
    head += column(80, [""] * count) + column(8, [str(fs)] * count) + column(32, [""] * count)
    body = np.stack([np.asarray(signals[n], np.int64).reshape(records, fs) for n in names], axis=1)
    # The lower three bytes, little-endian, with the sign that the fourth would repeat.
    raw = body.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3]
    path.write_bytes(head + raw.tobytes())
