"""One file over a bad line: whatever happens, nothing half-written stands under its name."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from biosig_mtl.data.fetching import NoRoomError, Wanted, fetch_file
from biosig_mtl.data.fetching_line import Line, Patience
from biosig_mtl.types import DataError
from tests.data.faulty_server import CONTENT, DIGEST, Faulty, Handler, serving, until

QUICK = Patience(tries=3, stall_s=0.3, first_wait_s=0.001, longest_wait_s=0.5)
SIZE = len(CONTENT)
Rule = Callable[[Handler, int], bool]


@pytest.fixture
def server() -> Iterator[Faulty]:
    with serving() as running:
        yield running


def get(server: Faulty, folder: Path, sha256: str = DIGEST, size: int = SIZE, line: Line | None = None) -> tuple[int, str]:
    return fetch_file(Wanted(f"{server.url}/a", "a.bin", sha256, size), folder / "a.bin", line or Line(patience=QUICK))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --------------------------------------------------------------------------------------------------------------- going on
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("tenth", range(11))
def test_a_line_cut_at_every_tenth_goes_on_there(tmp_path: Path, server: Faulty, tenth: int, known: bool) -> None:
    cut = SIZE * tenth // 10
    server.rules["/a"] = lambda handler, before: not before and handler.plain(cut)
    assert get(server, tmp_path, *((DIGEST, SIZE) if known else ("", 0))) == (SIZE, DIGEST)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["a.bin"]
    assert server.asked() == [None, f"bytes={cut}-" if cut else None][: 1 + (tenth < 10)]


def test_a_line_that_is_cut_again_and_again_comes_to_the_end(tmp_path: Path, server: Faulty) -> None:
    server.rules["/a"] = lambda handler, before: handler.plain(SIZE * (before + 1) // 10)
    get(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert len(server.seen) == 10


def test_a_line_that_brings_nothing_is_given_up_after_the_tries(tmp_path: Path, server: Faulty) -> None:
    server.rules["/a"] = lambda handler, _: handler.plain(handler.begin() or 700_000)
    with pytest.raises(DataError, match=r"transfer failed 3 times .*; run it again to go on"):
        get(server, tmp_path, "", 0)
    assert not (tmp_path / "a.bin").exists()


def test_the_next_run_goes_on_and_checks_the_version(tmp_path: Path, server: Faulty) -> None:
    server.rules["/a"] = lambda handler, before: (
        before < 9 and handler.plain(400_000 if not handler.begin() else handler.begin())
    )
    with pytest.raises(DataError, match="transfer failed"):
        get(server, tmp_path, "", 0)
    assert names(tmp_path) == ["a.bin.part", "a.bin.part.json"]
    server.rules.clear()
    get(server, tmp_path, "", 0)
    assert server.seen[-1][1]["Range"] == "bytes=400000-"
    assert server.seen[-1][1]["If-Range"] == '"v1"'
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("weak", ["", 'W/"v1"'])
def test_without_a_version_and_without_a_sum_a_part_is_not_trusted(tmp_path: Path, server: Faulty, weak: str) -> None:
    server.etag = weak
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    get(server, tmp_path, "", 0)
    assert server.asked() == [None]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_gone_on_with(tmp_path: Path, server: Faulty) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])
    note = {"url": "https://example.org/a", "etag": '"v1"', "modified": "", "total": SIZE}
    (tmp_path / "a.bin.part.json").write_text(json.dumps(note), encoding="utf-8")
    get(server, tmp_path, "", 0)
    assert server.asked() == [None]


def test_a_file_that_changes_between_its_parts_is_fetched_anew(tmp_path: Path, server: Faulty) -> None:
    new = CONTENT[::-1]

    def changes(handler: Handler, before: int) -> bool:
        if not before:
            handler.plain(500_000)
            server.etag, server.files["/a"] = '"v2"', new
        return not before

    server.rules["/a"] = changes
    get(server, tmp_path, "", 0)
    assert (tmp_path / "a.bin").read_bytes() == new


def test_a_server_that_mixes_versions_is_found_out(tmp_path: Path, server: Faulty) -> None:
    """It ignores If-Range, and tells the new version only in the head of the part."""

    def mixes(handler: Handler, before: int) -> bool:
        if before == 1:
            rest = SIZE - 500_000
            heads = {"ETag": '"v2"', "Content-Range": f"bytes 500000-{SIZE - 1}/{SIZE}", "Content-Length": str(rest)}
            handler.give(b"x" * rest, 206, heads)
            return True
        handler.plain(None if before else 500_000)
        return True

    server.rules["/a"] = mixes
    get(server, tmp_path, "", 0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked() == [None, "bytes=500000-", None]


@pytest.mark.parametrize("lie", [{"shift": 1}, {"total": SIZE + 1}])
def test_a_part_that_is_not_the_one_asked_for_is_thrown_away(tmp_path: Path, server: Faulty, lie: dict[str, int]) -> None:
    server.rules["/a"] = lambda handler, before: handler.plain(None if before else 300_000, **lie)
    get(server, tmp_path, "", 0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked() == [None, "bytes=300000-", None]


def test_a_server_that_knows_no_ranges_sends_the_whole(tmp_path: Path, server: Faulty) -> None:
    def stubborn(handler: Handler, before: int) -> bool:
        handler.give(CONTENT[: None if before else 900_000], 200, {"Content-Length": str(SIZE), "ETag": '"v1"'})
        return True

    server.rules["/a"] = stubborn
    get(server, tmp_path)
    assert server.asked() == [None, "bytes=900000-"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_that_was_damaged_here_is_fetched_anew_once(tmp_path: Path, server: Faulty) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    get(server, tmp_path)
    assert server.asked() == ["bytes=1000-", None]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_that_is_too_long_or_whole(tmp_path: Path, server: Faulty) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"x")
    get(server, tmp_path, size=0)
    assert server.asked() == [f"bytes={SIZE + 1}-", None]
    (tmp_path / "a.bin").unlink()
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    get(server, tmp_path)
    assert len(server.seen) == 2
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"x")
    get(server, tmp_path)
    assert server.asked()[2:] == [None]


# ------------------------------------------------------------------------------------------------------------------- lies
@pytest.mark.parametrize(
    ("sha256", "size", "message"),
    [
        ("0" * 64, SIZE, r"is not the file that the manifest names \(1280000 bytes, sha256 [0-9a-f]{64}\); nothing was kept"),
        (DIGEST, 1000, r"is not the file that the manifest names \(1280000 bytes, not 1000\)"),
    ],
)
def test_a_file_that_is_not_the_one_named_is_not_kept(
    tmp_path: Path, server: Faulty, sha256: str, size: int, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        get(server, tmp_path, sha256, size)
    assert names(tmp_path) == []


@pytest.mark.parametrize("says", ["100", str(SIZE * 2), "-5", "many"])
def test_a_length_that_lies_never_gives_a_wrong_file(tmp_path: Path, server: Faulty, says: str) -> None:
    server.rules["/a"] = lambda handler, _: handler.give(CONTENT, 200, {"Content-Length": says})
    if says in {"-5", "many"}:  # a length that is none is as if there were none
        assert get(server, tmp_path, size=0) == (SIZE, DIGEST)
        return
    with pytest.raises(DataError, match=r"is not the file|transfer failed"):
        get(server, tmp_path, size=0)
    assert not (tmp_path / "a.bin").exists()


def test_an_answer_whose_end_nobody_knows_is_refused(tmp_path: Path, server: Faulty) -> None:
    server.rules["/a"] = lambda handler, _: handler.give(CONTENT)
    with pytest.raises(DataError, match="a cut could not be noticed"):
        get(server, tmp_path, "", 0)
    assert names(tmp_path) == []


def test_an_answer_in_chunks_has_an_end(tmp_path: Path, server: Faulty) -> None:
    def chunks(handler: Handler, before: int) -> bool:
        body = b"".join(b"%x\r\n" % 1000 + CONTENT[at : at + 1000] + b"\r\n" for at in range(0, SIZE, 1000))
        end = b"0\r\n\r\n" if before else b""
        handler.give(body[: None if before else -10_000] + end, 200, {"Transfer-Encoding": "chunked"})
        return True

    server.rules["/a"] = chunks
    assert get(server, tmp_path, "", 0) == (SIZE, DIGEST)
    assert len(server.seen) == 2


def test_an_endless_answer_is_cut(tmp_path: Path, server: Faulty) -> None:
    server.rules["/a"] = lambda handler, _: handler.give(CONTENT * 2)
    with pytest.raises(DataError, match=f"sends more than {SIZE} bytes; nothing was kept"):
        get(server, tmp_path)
    assert names(tmp_path) == []


def test_a_web_page_in_place_of_a_file_is_known(tmp_path: Path, server: Faulty) -> None:
    server.rules["/a"] = lambda handler, _: handler.give(b"<html>", 200, {"Content-Type": "text/html"})
    with pytest.raises(DataError, match="is a web page"):
        get(server, tmp_path, "", 0)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "heads", "message"),
    [
        (200, {"Content-Encoding": "gzip"}, "packed form that was not asked for"),
        (204, {}, "answers HTTP 204 and no file"),
        (206, {"Content-Range": f"bytes 0-{SIZE - 1}/{SIZE}"}, "another part than was asked for"),
    ],
)
def test_answers_that_are_no_file(tmp_path: Path, server: Faulty, status: int, heads: dict[str, str], message: str) -> None:
    server.rules["/a"] = lambda handler, _: handler.give(b"", status, heads)
    with pytest.raises(DataError, match=message):
        get(server, tmp_path)
    assert names(tmp_path) == []


# ------------------------------------------------------------------------------------------------------------- slow, busy
def test_a_stall_is_noticed_and_the_rest_asked_for_again(tmp_path: Path, server: Faulty) -> None:
    server.rules["/a"] = lambda handler, before: not before and handler.stall(CONTENT[:600_000])
    get(server, tmp_path)
    assert server.asked() == [None, "bytes=600000-"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_slow_drip_counts_as_a_stall(tmp_path: Path, server: Faulty) -> None:
    server.rules["/a"] = lambda handler, _: handler.stall(every_s=0.05)
    with pytest.raises(DataError, match=r"transfer failed 2 times \(only \d+ bytes in 0 s\)"):
        get(server, tmp_path, line=Line(patience=Patience(2, 0.3, 1000, 0.001, 1)))
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(tmp_path: Path, server: Faulty, status: int) -> None:
    server.rules["/a"] = lambda handler, before: before < 2 and handler.give(b"", status, {"Retry-After": "0"})
    get(server, tmp_path)
    assert len(server.seen) == 3


@pytest.mark.parametrize("asks", ["3600", "date"])
def test_a_server_that_wants_a_long_rest_is_left_alone(tmp_path: Path, server: Faulty, asks: str) -> None:
    text = asks if asks.isdigit() else formatdate(4_000_000_000, usegmt=True)
    server.rules["/a"] = lambda handler, _: handler.give(b"", 429, {"Retry-After": text})
    with pytest.raises(DataError, match=r"asks us to come back in \d+ s \(HTTP 429"):
        get(server, tmp_path)
    assert len(server.seen) == 1


def test_all_stop_when_one_says_so(tmp_path: Path, server: Faulty) -> None:
    line = Line(patience=QUICK)
    line.stop.set()
    with pytest.raises(DataError, match="stopped; run it again"):
        get(server, tmp_path, line=line)
    server.rules["/a"] = lambda handler, _: handler.give(b"", 503)
    with pytest.raises(DataError, match="stopped; run it again"):
        get(server, tmp_path, line=line)


def test_no_server_at_all(tmp_path: Path) -> None:
    with serving() as gone:
        pass
    with pytest.raises(DataError, match=r"transfer failed 3 times \(.*refused"):
        get(gone, tmp_path)


def test_patience_refuses_nonsense() -> None:
    for words in ({"tries": 0}, {"stall_s": 0}, {"first_wait_s": -1}):
        with pytest.raises(ValueError, match="need tries"):
            Patience(**words)


# --------------------------------------------------------------------------------------------------------------- the disk
def test_a_full_disk_is_one_line_and_the_part_goes_on(tmp_path: Path, server: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", place], check=False).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        with pytest.raises(NoRoomError, match=r"a.bin needs 1280000 more bytes, there are \d+; make room first"):
            get(server, place)
        assert names(place) == []
        # As another program fills the disk while the file comes.
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Use", (), {"free": 1 << 40})())
        with pytest.raises(NoRoomError, match=r"no room left; \d+ more bytes are needed; make room and run it again") as caught:
            get(server, place)
        assert "\n" not in str(caught.value)
        assert names(place) == ["a.bin.part", "a.bin.part.json"]
        assert CONTENT.startswith((place / "a.bin.part").read_bytes())
        subprocess.run(["mount", "-o", "remount,size=4m", place], check=True)
        get(server, place)
        assert (place / "a.bin").read_bytes() == CONTENT
        assert server.asked()[-1] is not None
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_file_that_may_not_grow_is_like_a_full_disk(tmp_path: Path, server: Faulty) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        with pytest.raises(NoRoomError, match="no room left"):
            get(server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "a.bin").exists()
    get(server, tmp_path)
    assert server.asked()[-1] == "bytes=500000-"
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_place_that_refuses_is_told(tmp_path: Path, server: Faulty) -> None:
    (tmp_path / "a.bin.part.json").mkdir()
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:10])
    with pytest.raises(DataError, match="cannot be written to"):
        get(server, tmp_path)


def test_a_killed_process_leaves_a_part_that_is_gone_on_with(tmp_path: Path, server: Faulty) -> None:
    server.rules["/a"] = lambda handler, before: not before and handler.stall(CONTENT[:800_000])
    program = (
        "import sys; from pathlib import Path; from biosig_mtl.data.fetching import Wanted, fetch_file\n"
        "from biosig_mtl.data.fetching_line import Line\n"
        "fetch_file(Wanted(sys.argv[1], 'a.bin'), Path(sys.argv[2]), Line())\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program, f"{server.url}/a", str(tmp_path / "a.bin")])
    part = tmp_path / "a.bin.part"
    assert until(lambda: part.is_file() and part.stat().st_size == 800_000)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert names(tmp_path) == ["a.bin.part", "a.bin.part.json"]
    get(server, tmp_path, "", 0)
    assert server.asked() == [None, "bytes=800000-"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
