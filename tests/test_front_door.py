"""The front door: every name leads to the thing it says."""

from __future__ import annotations

from pathlib import Path

import biosig_mtl


def test_every_public_name_has_a_door_and_every_door_a_public_name() -> None:
    assert set(biosig_mtl._DOORS) | {"__version__"} == set(biosig_mtl.__all__)
    assert len(biosig_mtl.__all__) <= 35
    for name, (module, there) in biosig_mtl._DOORS.items():
        made = getattr(biosig_mtl, name)
        assert made.__name__ == there
        assert made.__module__.startswith("biosig_mtl.")
        assert module
        assert made.__doc__


def test_no_public_name_hides_a_room() -> None:
    # ``from biosig_mtl import export`` inside the package must find the room, not what stands at the door.
    rooms = {path.stem for path in Path(biosig_mtl.__file__).parent.iterdir() if path.suffix in {"", ".py"}}
    assert rooms & set(biosig_mtl.__all__) == set()
