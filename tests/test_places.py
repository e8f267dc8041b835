from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl import places
from biosig_mtl.places import Place, bring, room_for, url_of
from biosig_mtl.types import DataError, RecipeError
from tests.object_store import ObjectStore, serving


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(f"file://{tmp_path / 'far'}")


def wrote(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class Flaky:
    """A file system that breaks as often as it is told, and then works as the one behind it."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.inner = error, times, places.connect("file")

    def __getattr__(self, name: str) -> Any:
        if self.times > 0 and name in {"find", "get_file", "put_file"}:
            self.times -= 1
            raise self.error
        return getattr(self.inner, name)


# ------------------------------------------------------------------------------------------------------------- addresses
@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        (Path("s3://bucket/a"), "s3://bucket/a"),
        ("S3://bucket", "s3://bucket"),
        ("file:///data/x", "file:///data/x"),
        (Path("file:///data/x"), "file:///data/x"),
        ("sftp://me@host/x", "sftp://me@host/x"),
        ("/data/x", None),
        (Path("stores"), None),
        ("c:/data", None),
        ("with:colon/x", None),
    ],
)
def test_an_address_is_told_from_a_folder(given: str | Path, url: str | None) -> None:
    assert url_of(given) == url


@pytest.mark.parametrize(
    "given",
    ["s3://key:secret@bucket/x", "https://host/x?token=secret", "s3://bucket/x::zip://y", "sftp://me:secret@host/x"],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(RecipeError) as raised:
        url_of(given)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("protocol", ["memory", "github", "zip", "jupyter", "reference"])
def test_other_kinds_of_addresses_are_refused(protocol: str) -> None:
    with pytest.raises(RecipeError, match="addresses begin with"):
        url_of(f"{protocol}://x/y")


# ------------------------------------------------------------------------------------------------------- list, fetch, put
def test_what_was_put_is_listed_and_fetched(place: Place, tmp_path: Path) -> None:
    assert place.files() == {}
    source = wrote(tmp_path / "near" / "a.bin", b"x" * 1000)
    place.put(source, "sub/a.bin")
    place.put(source, "b.bin")
    assert place.files() == {"b.bin": 1000, "sub/a.bin": 1000}
    assert place.files("sub") == {"sub/a.bin": 1000}
    assert place.below("sub").files() == {"a.bin": 1000}
    assert place.fetch("sub/a.bin", tmp_path / "back" / "a.bin").read_bytes() == b"x" * 1000


def test_what_is_not_there_is_told_in_one_line(place: Place, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(no\.bin\): not there"):
        place.fetch("no.bin", tmp_path / "no.bin")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../b", "a\\b", "a\nb", "n" * 300, ""])
def test_names_that_lead_out_of_the_folder_are_refused(place: Place, tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads out of the folder or fits no folder") as raised:
        place.fetch(name, tmp_path / "x")
    assert "\n" not in str(raised.value)
    with pytest.raises(DataError, match="leads out"):
        place.put(wrote(tmp_path / "y"), name)


def test_a_listing_with_a_hostile_name_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hostile:
        def find(self, start: str, **_: Any) -> dict[str, Any]:
            return {f"{start}/../../evil": {"size": 1}}

        def _strip_protocol(self, url: str) -> str:
            return url

    monkeypatch.setattr(places, "connect", lambda _: Hostile())
    with pytest.raises(DataError, match="leads out of the folder"):
        place.files()


def test_a_broken_line_is_tried_again(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "WAIT_S", 0.0)
    place.put(wrote(tmp_path / "a"), "a")
    flaky = Flaky(ConnectionResetError("reset"), places.TRIES - 1)
    monkeypatch.setattr(places, "connect", lambda _: flaky)
    assert place.files() == {"a": 7}
    flaky.times = places.TRIES
    with pytest.raises(DataError, match="ConnectionResetError; run the same command again"):
        place.files()
    flaky.times, flaky.error = 1, PermissionError("secret header")
    with pytest.raises(DataError, match="access denied; see the credentials") as raised:
        place.fetch("a", tmp_path / "b")
    assert "secret" not in str(raised.value)
    flaky.times, flaky.error = 1, ValueError("key=secret")
    with pytest.raises(DataError, match=r"\): ValueError; run the same command again$"):
        place.fetch("a", tmp_path / "b")


def test_only_what_is_missing_is_brought(place: Place, tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        place.put(wrote(tmp_path / "src"), name)
    near = tmp_path / "near"
    assert bring(place, place.files(), near) == ["a", "b/c"]
    (near / "a").write_bytes(b"short")
    assert bring(place, place.files(), near) == ["a"]
    assert (near / "a").read_bytes() == b"content"


def test_a_file_that_comes_short_is_no_copy(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put(wrote(tmp_path / "a"), "a")
    fetch = Place.fetch

    def short(self: Place, name: str, path: Path) -> Path:
        path = fetch(self, name, path)
        path.write_bytes(path.read_bytes()[:-1])
        return path

    monkeypatch.setattr(Place, "fetch", short)
    with pytest.raises(DataError, match="a came in another size"):
        bring(place, place.files(), tmp_path / "here")
    assert not (tmp_path / "here" / "a").exists()


def test_a_folder_for_copies_that_cannot_be_made_is_told(place: Place, tmp_path: Path) -> None:
    place.put(wrote(tmp_path / "a"), "a")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be made.*BIOSIG_CACHE"):
        place.fetch("a", tmp_path / "file" / "a")


def test_a_disk_without_room_is_told_before_anything_is_copied(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs 1024\.0 GiB for local copies .* set BIOSIG_CACHE"):
        room_for(tmp_path, 2**40)


def test_the_cache_is_where_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOSIG_CACHE", str(tmp_path))
    assert places.cache() == tmp_path
    monkeypatch.delenv("BIOSIG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert places.cache() == tmp_path / "x" / "biosig-mtl"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "h"))
    assert places.cache() == tmp_path / "h" / ".cache" / "biosig-mtl"


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    def none(protocol: str, **_: Any) -> Any:
        raise ImportError(f"no library for {protocol}")

    monkeypatch.setattr(fsspec, "filesystem", none)
    with pytest.raises(RecipeError, match=r"pip install 'biosig-mtl\[remote\]'"):
        places.connect.__wrapped__("gs")


# --------------------------------------------------------------------------------------------------- a real S3 client
@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    pytest.importorskip("s3fs")
    with serving() as store:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
        _forget()
        yield store
        _forget()


def _forget() -> None:
    import s3fs

    places.connect.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_object_store_is_listed_fetched_from_and_put_to(bucket: ObjectStore, tmp_path: Path) -> None:
    far = Place(str(url_of(Path("s3://bucket/sets/one"))))
    assert far.files() == {}
    content = bytes(range(256)) * 40
    far.put(wrote(tmp_path / "a", content), "lots/a.bin")
    assert bucket.objects == {"bucket/sets/one/lots/a.bin": content}
    assert far.files() == {"lots/a.bin": len(content)}
    bucket.broken = 1  # the client itself tries again
    assert far.fetch("lots/a.bin", tmp_path / "b").read_bytes() == content
    with pytest.raises(DataError, match="not there"):
        Place("s3://nobucket/x").files()
    with pytest.raises(DataError, match="not there"):
        far.fetch("none", tmp_path / "c")


def test_a_library_that_is_missing_is_told_as_such_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> Any:
        raise RecipeError("gs://…: needs the extra")

    monkeypatch.setattr(places, "connect", missing)
    monkeypatch.setattr("biosig_mtl.places.time.sleep", None)
    with pytest.raises(RecipeError, match="needs the extra"):
        Place("gs://bucket/x").files()
