"""Which kind a name is of."""

from __future__ import annotations

import pytest

from biosig_mtl.data.readers.channels import guess_kind, kind_of, match

# Place by place: the letters of a row of the cap, and the numbers that it has.
ROWS = {
    "Fp": "z12", "AF": "z3478", "F": "z123456789", "FT": "789", "FC": "z123456", "T": "345678", "C": "z123456", "TP": "789",
    "CP": "z123456", "P": "z123456789", "PO": "z3478", "O": "z12", "I": "z12", "CB": "12", "A": "12", "M": "12",
}  # fmt: skip
TEN_TEN = [*(row + place for row, places in ROWS.items() for place in places), "F10", "FT10", "TP10", "P10"]


@pytest.mark.parametrize("form", ["{}", "EEG {}-Ref", "{}-LE"])
def test_electrodes_are_eeg_in_any_case(form: str) -> None:
    for name in TEN_TEN:
        for text in (name, name.upper(), name.lower()):
            assert kind_of(form.format(text)) == "eeg", text


@pytest.mark.parametrize("name", ["c3po", "t99", "c7", "fp3", "x1", "o9", "hr", "acceleration", "temperature", "status", ""])
def test_other_words_are_none(name: str) -> None:
    assert kind_of(name) == "other"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("temp", "temp"), ("temp_chest", "temp"), ("acc_x", "acc"), ("emg_zygo", "emg"), ("eog_h", "eog"), ("ppg_8hz", "ppg"),
        ("valence", "label"), ("arousal", "label"), ("dominance", "label"), ("liking", "label"), ("stress", "label"),
        ("eda_chest", "eda"), ("resp", "resp"), ("abp", "abp"), ("eeg_4", "eeg"),
    ],
)  # fmt: skip
def test_our_own_names(name: str, kind: str) -> None:
    assert kind_of(name) == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("GSR1", "eda"), ("EDA", "eda"), ("Plet", "ppg"), ("BVP", "ppg"), ("PLETH", "ppg"), ("Temp", "temp"), ("SKT", "temp"),
        ("Resp", "resp"), ("RSP", "resp"), ("hEOG", "eog"), ("vEOG", "eog"), ("zEMG", "emg"), ("EMG_zygo", "emg"),
        ("ACC_X", "acc"),
        ("EXG1", "other"), ("Status", "other"), ("II", "ecg"), ("I1", "eeg"), ("stress", "other"), ("CVP", "other"),
    ],
)  # fmt: skip
def test_names_in_files(name: str, kind: str) -> None:
    assert guess_kind(name)[0] == kind


def test_a_guess_takes_all_of_several_and_the_best_of_single_kinds() -> None:
    chosen = match(["ACC_X", "ACC_Y", "BVP", "Temp", "V5", "ECG II", "hEOG", "AF3"], {}, "file")
    assert {name: kind for name, (kind, _) in chosen.items()} == {
        "ppg": "ppg", "ecg": "ecg", "temp": "temp", "ACC_X": "acc", "ACC_Y": "acc", "hEOG": "eog", "AF3": "eeg",
    }  # fmt: skip
    assert chosen["ecg"][1] == 5
