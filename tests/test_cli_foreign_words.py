"""What strangers wrote into a file is shown on the terminal, and steers nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest

from biosig_mtl import cli


def test_a_name_that_would_steer_the_terminal_is_shown_without_its_power(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ESC ] 0 ; … BEL sets the title of a terminal, ESC [ 31 m its colour."""
    place = tmp_path / "a\x1b]0;owned\x07b\x1b[31m\u009bc"
    with pytest.raises(SystemExit) as left:
        cli.main(["audit", str(place)])
    told = capsys.readouterr().err
    assert left.value.code == 3
    assert told.endswith("\n")
    assert told[:-1].isprintable()
    assert "]0;owned" in told
