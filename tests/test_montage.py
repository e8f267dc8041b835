"""Where electrodes lie: the laws of the 10-10 system, and another package's head."""

from __future__ import annotations

import numpy as np
import pytest

from biosig_mtl import montage

LEFT = ["Fp1", "AF3", "F3", "F7", "FC5", "FC1", "C3", "T7", "CP5", "CP1", "P3", "P7", "PO3", "O1"]
RIGHT = ["Fp2", "AF4", "F4", "F8", "FC6", "FC2", "C4", "T8", "CP6", "CP2", "P4", "P8", "PO4", "O2"]
DEAP = [*LEFT, "Oz", "Pz", "Fz", "Cz", *RIGHT]
EMOTIV = ["AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4"]


def test_all_lie_on_the_unit_sphere_and_none_on_another() -> None:
    xyz = np.array(list(montage.POSITIONS.values()))
    assert np.allclose(np.linalg.norm(xyz, axis=1), 1.0)
    apart = np.linalg.norm(xyz[:, None] - xyz[None], axis=2) + 9 * np.eye(len(xyz))
    assert apart.min() > 0.1
    assert len(xyz) == 11 + 8 + 14 * 5


@pytest.mark.parametrize("name", montage.POSITIONS)
def test_opposite_electrodes_mirror_each_other(name: str) -> None:
    opposite = montage.mirror(name)
    assert opposite is not None
    assert montage.mirror(opposite) == name
    x, y, z = montage.POSITIONS[name]
    assert np.allclose(montage.POSITIONS[opposite], (-x, y, z))
    assert montage.side(name) == np.sign(np.round(x, 9))
    assert (opposite == name) == (montage.side(name) == 0)


def test_axes_point_right_forward_and_up() -> None:
    places = montage.POSITIONS
    assert places["Cz"] == (0.0, 0.0, 1.0)
    assert places["T8"][0] > 0.99
    assert places["Fpz"][1] > 0.99
    assert places["Oz"][1] < -0.99
    # Ten per cent between neighbours of the middle line, and of the row through the ears.
    for one, other in (("Cz", "FCz"), ("Fz", "AFz"), ("Cz", "C1"), ("C5", "T7"), ("T8", "T10"), ("Pz", "POz")):
        assert np.dot(places[one], places[other]) == pytest.approx(np.cos(np.deg2rad(23.0)))


@pytest.mark.parametrize(
    ("montage_name", "mean_deg", "worst_deg"), [("easycap-M1", 1.0, 5.0), ("biosemi64", 1.0, 5.0), ("colin27_1005", 5.0, 14.0)]
)
def test_agrees_with_the_positions_of_mne(montage_name: str, mean_deg: float, worst_deg: float) -> None:
    # Two caps on a sphere, and one measured on a head, to which a sphere is fitted.
    mne = pytest.importorskip("mne")
    if montage_name.startswith("colin27") and montage_name not in mne.channels.get_builtin_montages():
        pytest.skip("this version of mne has it under another name")
    theirs = mne.channels.make_standard_montage(montage_name).get_positions()["ch_pos"]
    names = [name for name in montage.POSITIONS if name in theirs]
    assert len(names) > 60
    xyz = np.array([theirs[name] for name in names])
    center = np.linalg.lstsq(np.c_[2 * xyz, np.ones(len(xyz))], (xyz**2).sum(1))[0][:3]
    xyz = (xyz - center) / np.linalg.norm(xyz - center, axis=1, keepdims=True)
    angle = np.rad2deg(np.arccos(np.clip((xyz * montage.positions(names)).sum(1), -1, 1)))
    assert angle.mean() < mean_deg
    assert angle.max() < worst_deg


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("FP1", "Fp1"), ("fpZ", "Fpz"), ("EEG F7-REF", "F7"), ("EEG:C3", "C3"), ("Fc5.", "FC5"), ("T3", "T7"), ("t6-A2", "P8"),
        ("F3-M2", "F3"), ("EEG_Pz_LE", "Pz"), ("CB2", "PO10"), ("M1", "TP9"), ("Cz..", "Cz"),
        ("F3-C3", None), ("hEOG", None), ("", None), ("EEG", None), ("C11", None), ("ECG II", None), ("REF", None),
    ],
)  # fmt: skip
def test_names_of_many_hands(given: str, meant: str | None) -> None:
    assert montage.canonical(given) == meant
    assert (montage.position(given) is None) == (meant is None)
    assert (montage.flat(given) is None) == (meant is None)
    assert (montage.side(given) is None) == (meant is None)
    assert (montage.mirror(given) is None) == (meant is None)
    assert (montage.region(given) is None) == (meant is None)


def test_the_map_keeps_the_angle_from_the_vertex() -> None:
    assert montage.flat("Cz") == (0.0, 0.0)
    assert montage.flat("Nz") == pytest.approx((0.0, 1.0))
    assert montage.flat("T8") == pytest.approx((0.8, 0.0))
    assert montage.flat("C4") == pytest.approx((0.4, 0.0))
    x, y = montage.flat("F7") or (0, 0)
    assert x < 0 < y


def test_pairs_of_the_usual_caps() -> None:
    assert montage.pairs(DEAP) == tuple(zip(LEFT, RIGHT, strict=True))
    assert len(montage.pairs(EMOTIV)) == 7
    assert montage.pairs(EMOTIV)[0] == ("AF3", "AF4")
    assert montage.pairs(["F4", "Cz"]) == ()
    # Two names of one place: the first counts.
    assert montage.pairs(["T7", "T3", "T8"]) == (("T7", "T8"),)


def test_unknown_names_have_no_place() -> None:
    assert np.isnan(montage.positions(["Cz", "nobody"])).tolist() == [[False] * 3, [True] * 3]
    assert montage.positions([]).shape == (0, 3)


def test_every_place_has_a_region() -> None:
    found = {montage.region(name) for name in montage.POSITIONS}
    assert found == {"frontal", "central", "temporal", "parietal", "occipital"}
    assert montage.region("F3") == "frontal"
    assert montage.region("T3") == "temporal"
