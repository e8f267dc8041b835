"""One simulated recording in every format, with words seeded into every place of it that can hold who it is of.

Every place has a word of its own, so that a leak names its source. Words are fixed: a failure can be repeated.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from biosig_mtl.data.synthetic import Cohort, simulate

BORN = datetime(1931, 7, 23, tzinfo=UTC)
RECORDED = datetime(1987, 3, 14, 15, 9, 26, tzinfo=UTC)
# Both dates as formats and people write them; the clock too: a start by itself narrows down whose night it was.
_FORMS = ("%d/%m/%Y", "%d.%m.%Y", "%d.%m.%y", "%Y-%m-%d", "%d-%b-%Y", "%Y%m%d", "%d %B %Y")
DATES = (
    *(when.strftime(form) for when in (BORN, RECORDED) for form in _FORMS),
    "15:09:26",
    "15.09.26",
    f"{RECORDED.timestamp():.0f}"[:8],
)
FS = 125
SECONDS = 20


@dataclass(frozen=True)
class Seeded:
    """A recording: what to open, its format among manifests, the pattern by which it is found, and the words in it."""

    path: Path
    form: str
    pattern: str
    words: tuple[str, ...]


class Words:
    """Gives a new word for every place."""

    def __init__(self, start: str) -> None:
        self.start = start
        self.given: list[str] = []

    def __call__(self, place: str) -> str:
        self.given.append(f"Kanari{self.start}{len(self.given):02d}{place}")
        return self.given[-1]


def channels(number: int = 0) -> dict[str, Any]:
    """Return PLETH, II and ABP of a simulated person; float32, shape (sample,)."""
    cohort = Cohort(n_subjects=number + 1, records_per_subject=1, record_s=SECONDS, fault_share=0)
    return dict(simulate(cohort, number)[0].channels)


def wfdb(folder: Path) -> Seeded:
    import wfdb as library

    word, made = Words("w"), channels()
    library.wrsamp(
        "w1",
        fs=FS,
        units=["NU", "mV", "mmHg"],
        sig_name=list(made),
        p_signal=np.stack(list(made.values()), axis=1).astype(np.float64),
        fmt=["16"] * 3,
        comments=[f"patient {word('Name')}", f"born {BORN:%d/%m/%Y}", f"serial {word('Serial')}", word("Diagnosis")],
        base_date=RECORDED.date(),
        base_time=RECORDED.time(),
        write_dir=str(folder),
    )
    library.wrann("w1", "atr", np.array([100, 500]), ["N", '"'], aux_note=["", word("Note")], write_dir=str(folder))
    return Seeded(folder / "w1.hea", "wfdb", "*.hea", tuple(word.given))


def edf(folder: Path, *, wide: bool = False) -> Seeded:
    """EDF+ or BDF+: fields of patient and recording, transducers, and a channel of annotations."""
    word, made = Words("b" if wide else "e"), channels()
    ranges = {"PLETH": (-10, 10), "II": (-5, 5), "ABP": (0, 300)}
    low, high = (1 - 2**23, 2**23 - 1) if wide else (-32768, 32767)
    width = 3 if wide else 2
    notes, size = 60, 60 * 2 // width
    patient = f"{word('Mrn')[:16]} F {BORN:%d-%b-%Y} {word('Name')}".upper()
    recording = f"Startdate {RECORDED:%d-%b-%Y} {word('Adm')[:12]} {word('Tech')[:14]} {word('Dev')[:12]}".upper()
    whole = [
        ("", 7) if wide else ("0", 8),
        (patient, 80),
        (recording, 80),
        (f"{RECORDED:%d.%m.%y}", 8),
        (f"{RECORDED:%H.%M.%S}", 8),
    ]
    whole += [(str(256 * 5), 8), ("BDF+C" if wide else "EDF+C", 44), (str(SECONDS), 8), ("1", 8), ("4", 4)]
    each = [
        ([*made, "BDF Annotations" if wide else "EDF Annotations"], 16),
        ([word("Sensor"), "", "", ""], 80),
        (["NU", "mV", "mmHg", ""], 8),
        ([*(str(r[0]) for r in ranges.values()), "-1"], 8),
        ([*(str(r[1]) for r in ranges.values()), "1"], 8),
        ([str(low)] * 4, 8),
        ([str(high)] * 4, 8),
        ([word("Filter"), "", "", ""], 80),
        ([str(FS)] * 3 + [str(size)], 8),
        ([word("Reserved"), "", "", ""], 32),
    ]
    text = "".join(w[:n].ljust(n) for w, n in whole) + "".join(w[:n].ljust(n) for ws, n in each for w in ws)
    note = word("Note")
    body = b""
    for second in range(SECONDS):
        for name, (bottom, top) in ranges.items():
            part = made[name][second * FS : (second + 1) * FS].astype(np.float64)
            counts = np.clip(np.rint((part - bottom) / (top - bottom) * (high - low) + low), low, high).astype("<i4")
            body += counts.astype("<i2").tobytes() if not wide else counts.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        told = f"+{second}\x14\x14\0" + (f"+{second}.5\x14{note}\x14\0" if second == 1 else "")
        body += told.encode().ljust(2 * notes, b"\0")
    path = folder / ("b1.bdf" if wide else "e1.edf")
    path.write_bytes((b"\xffBIOSEMI" + text[7:].encode("ascii") if wide else text.encode("ascii")) + body)
    return Seeded(path, "edf", f"*{path.suffix}", (*word.given, patient.split()[-1], note))


def bdf(folder: Path) -> Seeded:
    return edf(folder, wide=True)


def brainvision(folder: Path) -> Seeded:
    word, made = Words("v"), channels()
    head = [f"; {word('Comment')}", "[Common Infos]", "DataFile=v1.eeg", "MarkerFile=v1.vmrk", "DataFormat=BINARY"]
    head += ["DataOrientation=MULTIPLEXED", "NumberOfChannels=3", f"SamplingInterval={1_000_000 // FS}", "[Binary Infos]"]
    head += ["BinaryFormat=IEEE_FLOAT_32", "[Channel Infos]", *(f"Ch{n + 1}={name},,1,µV" for n, name in enumerate(made))]
    head += ["[Comment]", f"Patient: {word('Name')}, born {BORN:%d.%m.%Y}", f"Amplifier serial: {word('Serial')}"]
    first = "Brain Vision Data Exchange Header File Version 1.0\n"
    (folder / "v1.vhdr").write_text(first + "\n".join(head) + "\n", encoding="utf-8")
    marks = ["[Common Infos]", "DataFile=v1.eeg", "[Marker Infos]", f"Mk1=New Segment,,1,1,0,{RECORDED:%Y%m%d%H%M%S}000000"]
    marks += [f"Mk2=Comment,{word('Note')},500,1,0"]
    first = "Brain Vision Data Exchange Marker File, Version 1.0\n"
    (folder / "v1.vmrk").write_text(first + "\n".join(marks) + "\n", encoding="utf-8")
    np.stack(list(made.values()), axis=1).astype("<f4").tofile(folder / "v1.eeg")
    return Seeded(folder / "v1.vhdr", "mne", "*.vhdr", tuple(word.given))


def fif(folder: Path) -> Seeded:
    import warnings

    import mne

    word, made = Words("f"), channels()
    info = mne.create_info(list(made), FS, ["misc", "ecg", "misc"], verbose="ERROR")
    raw = mne.io.RawArray(np.stack(list(made.values())).astype(np.float64) * 1e-6, info, verbose="ERROR")
    raw.info["subject_info"] = {
        "his_id": word("Mrn"),
        "last_name": word("Last"),
        "first_name": word("First"),
        "birthday": BORN.date(),
    }
    raw.info["experimenter"] = word("Tech")
    raw.info["description"] = word("About")
    raw.info["device_info"] = {"type": "x", "serial": word("Serial")}
    raw.set_meas_date(RECORDED)
    raw.set_annotations(mne.Annotations([3.0], [1.0], [word("Note")], orig_time=RECORDED))
    path = folder / "f1_raw.fif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw.save(path, verbose="ERROR")
    return Seeded(path, "mne", "*_raw.fif", tuple(word.given))


def _frame(word: Words) -> pd.DataFrame:
    made = channels()
    stamps = RECORDED.timestamp() + np.arange(FS * SECONDS) / FS
    frame = pd.DataFrame({"time": stamps, **{n: np.round(x.astype(np.float64), 4) for n, x in made.items()}})
    frame["remark"] = word("Remark")
    frame["mrn"] = word("Mrn")
    return frame


def csv(folder: Path, mark: str = ",") -> Seeded:
    word = Words("c" if mark == "," else "t")
    path = folder / ("c1.csv" if mark == "," else "t1.tsv")
    _frame(word).to_csv(path, index=False, sep=mark)
    return Seeded(path, "table", f"*{path.suffix}", tuple(word.given))


def tsv(folder: Path) -> Seeded:
    return csv(folder, "\t")


def parquet(folder: Path) -> Seeded:
    import pyarrow as pa
    import pyarrow.parquet as pq

    word = Words("p")
    table = pa.Table.from_pandas(_frame(word), preserve_index=False)
    pq.write_table(table.replace_schema_metadata({"patient": word("Name"), "born": f"{BORN:%Y-%m-%d}"}), folder / "p1.parquet")
    return Seeded(folder / "p1.parquet", "table", "*.parquet", tuple(word.given))


def e4(folder: Path) -> Seeded:
    from tests.data.affect.writers_b import e4_streams, e4_texts

    word = Words("z")
    start = RECORDED.timestamp()
    texts = e4_texts(e4_streams(SECONDS), {n: start + (10 if n == "HR" else 0) for n in ("BVP", "EDA", "TEMP", "ACC", "HR")})
    texts["IBI.csv"] = f"{start:f}, IBI\n3.5,0.9\n"
    texts["tags.csv"] = f"{start + 12.5:.2f}\n"
    texts["info.txt"] = f"Device serial {word('Serial')}\nworn by {word('Name')}\n"
    path = folder / "z1.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = word("Zip").encode()
        for name, text in texts.items():
            archive.writestr(name, text)
    return Seeded(path, "e4", "", tuple(word.given))


def ppg_bp(folder: Path) -> Seeded:
    import openpyxl

    word = Words("x")
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append([word("Title")])
    heads = ["Num.", "subject_ID", "Sex(M/F)", "Age(year)", "Height(cm)", "Weight(kg)"]
    sheet.append([*heads, "Systolic Blood Pressure(mmHg)", "Diastolic Blood Pressure(mmHg)", "Name", "Admitted"])
    sheet.append([1, 2, "Female", 45, 152, 63, 161, 89, word("Name"), RECORDED.replace(tzinfo=None)])
    book.properties.creator = word("Author")
    book.save(folder / "PPG-BP dataset.xlsx")
    wave = channels()["PLETH"]
    for n in (1, 2, 3):
        part = np.interp(np.arange(2100) / 1000, np.arange(FS * 3) / FS, wave[n * 200 : n * 200 + FS * 3])
        (folder / f"2_{n}.txt").write_text("\t".join(f"{v:.1f}" for v in 2000 + 100 * part), encoding="ascii")
    return Seeded(folder / "2_1.txt", "ppg_bp", "", tuple(word.given))


def mat73(folder: Path) -> Seeded:
    import h5py

    word, made = Words("m"), channels()
    path = folder / "m1.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        cell = file.create_dataset("#refs#/a", data=np.stack([made[n] for n in ("PLETH", "ABP", "II")], axis=1))
        file.create_dataset("m1", (1, 1), dtype=h5py.ref_dtype)[0, 0] = cell.ref
        file.attrs["patient"] = word("Attribute")
        file.create_dataset("about", data=word("Variable"))
    with path.open("r+b") as stream:
        stream.write(f"MATLAB 7.3 MAT-file, Created on: {RECORDED:%d %B %Y} by {word('Author')}".encode())
    return Seeded(path, "uci_mat", "*.mat", tuple(word.given))


MAKERS: dict[str, Callable[[Path], Seeded]] = {
    "wfdb": wfdb,
    "edf": edf,
    "bdf": bdf,
    "brainvision": brainvision,
    "fif": fif,
    "csv": csv,
    "tsv": tsv,
    "parquet": parquet,
    "e4": e4,
    "ppg_bp": ppg_bp,
    "mat73": mat73,
}


def made(folder: Path, name: str) -> Seeded:
    """Write the recording in one format, in a folder of its own."""
    place = folder / name
    place.mkdir(parents=True)
    return MAKERS[name](place)


def everywhere(seeded: Seeded) -> Iterator[str]:
    """Yield all that must be nowhere: the words of the places, and the dates."""
    yield from seeded.words
    yield from DATES
