"""What a hostile input may do to a reader: be read, or be refused in one line. Everything else is a `Finding`.

A `Target` is a reader with the names of the files it is given. One input is one string of bytes, so that any fuzzer can make
it: `split` cuts it into the files, each but the last led by its length (32 bit, little). Around every reading stand guards:

* an error that is neither `DataError` nor `RecipeError`, or a message that is no single printable line;
* a warning of numpy: a number that went wrong in silence;
* a file, folder, socket, library or program that the reading opened outside of the folder of the recording
  (``sys.addaudithook``; what C libraries open by themselves is seen by `opened_files`, see ``test_fuzz_classics.py``);
* memory: the peak of the process may grow by ``memory_mib`` MiB and ``grows`` bytes a byte of input;
* seconds of the processor.

Use: ``TARGETS`` of a ``targets_*.py`` is a dict of such targets; ``target(data)`` returns what was said, or raises `Finding`.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import itertools
import os
import shutil
import signal
import struct
import sys
import tempfile
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from biosig_mtl.data.readers import entry_for, open_source
from biosig_mtl.types import DataError, RecipeError, Record, Source

HERE = Path(__file__).parent
SEEDS = HERE / "seeds"
_ROOMS = ("tests.fuzz.targets_binary", "tests.fuzz.targets_text")
_LONGEST_MESSAGE = 2000
# Above this the process may not grow, whatever a reader claims: it ends in a MemoryError, which is a finding.
_CEILING_BYTES = 3 << 30


# Whether errors clean what they quote; until they do, quoting a hostile name is one finding, not thousands.
_CLEANED = str(DataError("\x1b")) != "\x1b"


class Finding(AssertionError):  # noqa: N818 (it is found, not made)
    """A reader did what no input may make it do."""


class _Escape(BaseException):
    """Raised in the middle of a reading; no reader may catch it as an error of the data."""


class _TooLong(BaseException):
    """The seconds of a reading are over."""


# -------------------------------------------------------------------------------------------------------- inputs and files
def split(data: bytes, count: int) -> list[bytes]:
    """Cut one input into ``count`` parts; a length beyond the end takes what there is."""
    parts = []
    for _ in range(count - 1):
        size = struct.unpack("<I", data[:4].ljust(4, b"\0"))[0]
        parts.append(data[4 : 4 + size])
        data = data[4 + size :]
    return [*parts, data]


def join(*parts: bytes) -> bytes:
    """Put parts together as `split` cuts them."""
    return b"".join(struct.pack("<I", len(p)) + p for p in parts[:-1]) + parts[-1]


def _scratch() -> Path:
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(prefix="fuzz_", dir=memory if os.access(memory, os.W_OK) else None))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    return root.resolve()


_NUMBERS = itertools.count()
_ROOT: list[Path] = []


@contextlib.contextmanager
def folder_of(files: Sequence[str], parts: Sequence[bytes]) -> Iterator[Path]:
    """Lay files into a folder of their own, in memory where the machine has such a disk."""
    if not _ROOT:
        _ROOT.append(_scratch())
    folder = _ROOT[0] / f"{os.getpid()}_{next(_NUMBERS)}"
    folder.mkdir(parents=True)
    try:
        for name, part in zip(files, parts, strict=True):
            if "/" in name:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(part)
        yield folder
    finally:
        _remove(folder, files)


def _remove(folder: Path, files: Sequence[str]) -> None:
    # Three times as fast as looking what there is; a million inputs are laid down and removed.
    try:
        for name in files:
            os.unlink(f"{folder}/{name}")  # noqa: PTH108
        os.rmdir(folder)  # noqa: PTH106
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------------------------------ guards
_FORBIDDEN = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "subprocess.Popen",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "os.startfile",
    "ctypes.dlopen",
    "pickle.find_class",
    "urllib.Request",
    "webbrowser.open",
)
_ON_PATHS: tuple[str, ...] = (
    "open",
    "os.listdir",
    "os.scandir",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.link",
)
_ON_PATHS += ("os.truncate", "os.chmod", "os.chown", "shutil.rmtree", "tempfile.mkstemp", "tempfile.mkdtemp")
# Code may be loaded while data are read (imports inside functions); it is never written.
_OURS = HERE.parents[1]
_CODE = tuple(str(Path(p).resolve()) for p in (sys.prefix, sys.base_prefix, _OURS / "biosig_mtl", _OURS / "tests"))


@dataclass(slots=True)
class _Watch:
    folder: str
    seen: list[str] = field(default_factory=list)


_WATCHES: list[_Watch] = []
_HOOKED: list[bool] = []


def _hook(event: str, given: tuple[Any, ...]) -> None:
    if not _WATCHES:
        return
    watch = _WATCHES[-1]
    if event in _FORBIDDEN or (event in _ON_PATHS and not _allowed(watch, event, given)):
        watch.seen.append(f"{event}{given!r:.200}")
        raise _Escape(watch.seen[-1])


def _allowed(watch: _Watch, event: str, given: tuple[Any, ...]) -> bool:
    path = given[0] if given else None
    if path is None or isinstance(path, int):
        return True
    try:
        place = os.path.realpath(os.fsdecode(path))
    except (TypeError, ValueError):
        return False
    if place == watch.folder or place.startswith(watch.folder + os.sep):
        return True
    writes = event not in {"open", "os.listdir", "os.scandir"} or (event == "open" and _writes(given))
    # An import looks into the folders of sys.path, the present one among them.
    looks = event in {"os.listdir", "os.scandir"} and place in {os.path.realpath(p or ".") for p in sys.path}
    return not writes and (looks or place.startswith(_CODE) or place in {"/dev/null", "/dev/urandom"})


def _writes(given: tuple[Any, ...]) -> bool:
    mode, flags = (*given[1:3], None, None)[:2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


@contextlib.contextmanager
def no_escape(folder: Path) -> Iterator[None]:
    """Forbid every file outside of ``folder`` (the installed code apart), every socket, program and library."""
    if not _HOOKED:
        sys.addaudithook(_hook)
        _HOOKED.append(True)
    watch = _Watch(str(folder.resolve()))
    _WATCHES.append(watch)
    try:
        yield
    except _Escape:
        pass
    finally:
        _WATCHES.remove(watch)
    if watch.seen:
        raise Finding(f"left its folder: {watch.seen[0]}")


def _over(_: int, __: FrameType | None) -> None:
    raise _TooLong


@contextlib.contextmanager
def in_time(seconds: float) -> Iterator[None]:
    """Forbid more than so many seconds of the processor: a busy machine is no finding."""
    before = signal.signal(signal.SIGPROF, _over)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except _TooLong:
        raise Finding(f"took more than {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


_CEILING: list[int] = []


@contextlib.contextmanager
def in_memory(most: int) -> Iterator[None]:
    """Forbid the process to grow by more than ``most`` bytes at any moment.

    With `tracemalloc` running, what Python and numpy asked for counts, touched or not. Without it what the kernel gave beyond
    all it ever gave before: that costs nothing, and a million inputs are read.
    """
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    if not _CEILING:
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _CEILING.append(taken + _CEILING_BYTES)
    traced = tracemalloc.is_tracing()
    if traced:
        tracemalloc.reset_peak()
        base = tracemalloc.get_traced_memory()[0]
    else:
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    if before[1] == resource.RLIM_INFINITY or _CEILING[0] < before[1]:
        resource.setrlimit(resource.RLIMIT_AS, (_CEILING[0], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    grown = (tracemalloc.get_traced_memory()[1] if traced else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - base
    if grown > most:
        raise Finding(f"grew by {grown >> 20} MiB where {most >> 20} are allowed")


# ----------------------------------------------------------------------------------------------------------------- targets
@dataclass(frozen=True, slots=True)
class Target:
    """One reader: ``read`` is given a folder that holds ``files``, made from the parts of an input.

    ``good`` is an input that is read without a word; it also loads what is imported late, so that no guard counts it.
    """

    name: str
    files: tuple[str, ...]
    read: Callable[[Path], object]
    good: Callable[[], bytes]
    memory_mib: int = 64
    grows: int = 64
    seconds: float = 10.0

    def __call__(self, data: bytes) -> str:
        """Read one input under all guards and return what was said: "" where it was read.

        Raises
        ------
        Finding
            The reader did what no input may make it do.
        """
        self.warm()
        with folder_of(self.files, split(data, len(self.files))) as folder:
            return guarded(lambda: self.read(folder), folder, self, len(data))

    def warm(self) -> None:
        """Read the good input once in a process."""
        if self.name not in _WARM:
            _WARM.add(self.name)
            with folder_of(self.files, split(self.good(), len(self.files))) as folder:
                self.read(folder)


_WARM: set[str] = set()


def guarded(read: Callable[[], object], folder: Path, target: Target, size: int) -> str:
    """Read something under all guards of a target and return what was said.

    ``size`` are the bytes of the input; `Finding` tells what went wrong.
    """
    most = (target.memory_mib << 20) + target.grows * size
    with in_memory(most), in_time(target.seconds), no_escape(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        try:
            read()
        except (DataError, RecipeError) as error:
            said = str(error)
        except Finding:
            raise
        except Exception as error:
            raise Finding(f"{type(error).__name__}: {error}"[:300]) from error
        else:
            return ""
    if _CLEANED:
        _one_line(said)
    return said


def _one_line(said: str, what: str = "a message") -> None:
    if not said or len(said) > _LONGEST_MESSAGE:
        raise Finding(f"{what} of {len(said)} letters: {said[:200]!r}")
    printable(said, what)


def printable(said: str, what: str) -> None:
    """Forbid letters that a terminal obeys or cannot write."""
    strange = sorted({letter for letter in said if not letter.isprintable()})
    if strange:
        raise Finding(f"{what} with {strange[:5]}, which a terminal may obey: {said[:200]!r}")


def read_all(path: Path, channels: dict[str, tuple[str, ...]] | None = None, options: dict[str, Any] | None = None) -> None:
    """Open a recording as a user would, read it whole and in parts, and ask whether what came out makes sense."""
    check_source(open_source(entry_for(path, channels, options or {})))


def check_source(source: Source) -> None:
    """Read a source whole and in parts; samples must be finite or NaN, as many as promised, and the same in either way."""
    length = source.duration_s
    if not (np.isfinite(length) and length >= 0):
        raise Finding(f"a length of {length} s")
    whole = source.read()
    _sound(whole, source)
    middle = length / 3
    parts = source.read(0.0, middle), source.read(middle)
    for name, channel in whole.channels.items():
        joined = np.concatenate([part.channels[name].samples for part in parts])
        if not np.array_equal(joined, channel.samples, equal_nan=True):
            raise Finding(f"'{name}': parts are not the whole ({joined.size} and {channel.samples.size} samples)")


def _sound(record: Record, source: Source) -> None:
    for name, channel in record.channels.items():
        if channel.samples.dtype != np.float32 or channel.samples.ndim != 1:
            raise Finding(f"'{name}': samples of {channel.samples.dtype}, shape {channel.samples.shape}")
        if np.isinf(channel.samples).any():
            raise Finding(f"'{name}': an infinite sample")
        rate = source.channels[name].fs
        if rate is not None and not (np.isfinite(rate) and rate > 0):
            raise Finding(f"'{name}': a rate of {rate} Hz")
    if not np.isfinite(record.seams_s).all():
        raise Finding("a seam at no time")
    _told(record, source)


def _told(record: Record, source: Source) -> None:
    for note in record.notes:
        _one_line(note, "a note")
    for name, info in source.channels.items():
        for said in (name, info.name, info.unit, record.channels[name].source_name):
            printable(said, "a channel's name or unit")


# ------------------------------------------------------------------------------------------------------------------- seeds
def all_targets() -> dict[str, Target]:
    """Return the targets of all rooms."""
    found: dict[str, Target] = {}
    for room in _ROOMS:
        with contextlib.suppress(ModuleNotFoundError):
            found |= import_module(room).TARGETS
    return found


def seeds_of(name: str) -> list[Path]:
    """Return the kept inputs of a target: each was a finding once, or reaches what nothing else does."""
    return sorted(p for p in (SEEDS / name).glob("*") if p.is_file())


def keep_seed(name: str, data: bytes) -> Path:
    """Keep an input under the first letters of its digest."""
    place = SEEDS / name / hashlib.sha256(data).hexdigest()[:8]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place
