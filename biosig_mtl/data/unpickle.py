"""Pickled data sets, read without running anything: a pickle is a program, and this is a machine that knows few of its words.

Data sets such as DEAP, WESAD and FACED come as pickles, and Python's own reader calls whatever function a file names. Here the
words of the pickle protocols 0–5 (PEP 3154, PEP 574; `pickletools` of the standard library describes each) that build dicts,
lists, tuples, texts and numbers are followed; names of functions are only ever *compared* with the few by which numpy describes
an array. No name is looked up, no class is made, no function of the file's choice is called.

Memory follows the file, never its claims: the bytes of an array stay in the file (`StoredArray`), a shape must fit them
exactly, the memo is a table of what was really stored, texts that need decoding share a budget, and words are counted.
"""

from __future__ import annotations

import codecs
import mmap
import struct
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from biosig_mtl.data.readers.files import check_file
from biosig_mtl.data.stored_array import Half, Stretch, described, from_state, latin, number_type, ordered, scalar, text_of
from biosig_mtl.types import DataError

# A data set has a handful of arrays, each of some twenty words; every word may cost a hundred bytes of memory.
MOST_WORDS = 1_000_000
# Longer texts are arrays: they are left in the file.
_SHORT_BYTES = 1024
_LINE_BYTES = 256
_HIGHEST_PROTOCOL = 5

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
ALLOWED: dict[tuple[str, str], str] = {
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    ("_codecs", "encode"): "encode",
    ("__builtin__", "bytes"): "bytes",
    ("builtins", "bytes"): "bytes",
    **{(module, "_reconstruct"): "reconstruct" for module in _MULTIARRAY},
    **{(module, "scalar"): "scalar" for module in _MULTIARRAY},
    **{(module, "_frombuffer"): "frombuffer" for module in _NUMERIC},
}
"""Names of functions and classes that a file may mention, and what is done in their place."""

# Word → how its number of bytes is written, and what the bytes are.
_COUNTED = {
    b"T": ("<i", "python2"),
    b"U": ("<B", "python2"),
    b"X": ("<I", "text"),
    b"\x8c": ("<B", "text"),
    b"\x8d": ("<Q", "text"),
    b"B": ("<I", "bytes"),
    b"C": ("<B", "bytes"),
    b"\x8e": ("<Q", "bytes"),
    b"\x96": ("<Q", "bytes"),
}
_NUMBERS = {b"J": "<i", b"K": "<B", b"M": "<H", b"G": ">d"}
_CONSTANTS: dict[bytes, Callable[[], Any]] = {
    b"N": lambda: None,
    b"\x88": lambda: True,
    b"\x89": lambda: False,
    b"]": list,
    b"}": dict,
    b")": tuple,
}
_PUT = {b"q": "<B", b"r": "<I"}
_GET = {b"h": "<B", b"j": "<I"}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_BROKEN = (LookupError, struct.error, ValueError, TypeError, OverflowError, AttributeError, Warning)


def read_pickle(path: Path) -> Any:
    """Return what a pickle holds: dicts, lists, tuples, texts, numbers, and `StoredArray` in the place of arrays.

    A text or bytes of more than 1,024 bytes that is no array is left as a `Stretch` of the file.

    Raises
    ------
    DataError
        The file is missing, empty, damaged or no pickle; it mentions a function or class besides the few of numpy's arrays
        (the message names it); an array of objects; a shape that does not fit its bytes; more words than any data set has.
    """
    check_file(path)
    facts = path.stat()
    return _read(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, _: int, size: int) -> Any:
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Machine(path, data, size).run()
    except _BROKEN as error:
        said = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise DataError(f"{path}: refused as a pickle: {said}") from error
    except OSError as error:
        raise DataError(f"{path}: not readable: {error.strerror}") from error


class _Name(str):
    """What is done in the place of a function that a file mentions; a text of the file is never one."""

    __slots__ = ()


class _Machine:
    """Stack, memo and place in the file. Errors are ValueError with words that follow 'refused as a pickle:'."""

    def __init__(self, path: Path, data: mmap.mmap, size: int) -> None:
        self.path, self.data, self.size = path, data, size
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.budget = 2 * size + _SHORT_BYTES
        self.words: dict[bytes, Callable[[], None]] = self._words()

    def run(self) -> Any:
        """Follow the words up to the last and return what they built."""
        for _ in range(MOST_WORDS):
            code = self.take(1)
            if code == b".":
                return self.pop()
            word = self.words.get(code)
            if word is None:
                raise ValueError(f"{_say(code)} at byte {self.at - 1}")
            word()
        raise ValueError(f"more than {MOST_WORDS} words")

    def _words(self) -> dict[bytes, Callable[[], None]]:
        return {
            b"\x80": self.protocol,
            b"\x95": self.skip_frame,
            b"(": lambda: self.marks.append(len(self.stack)),
            b"0": self.drop,
            b"1": self.drop_to_mark,
            b"2": lambda: self.stack.append(self.stack[-1]),
            b"a": lambda: self.extend([self.pop()]),
            b"e": lambda: self.extend(self.since_mark()),
            b"s": lambda: self.update([self.pop(), self.pop()][::-1]),
            b"u": lambda: self.update(self.since_mark()),
            b"l": lambda: self.stack.append(self.since_mark()),
            b"t": lambda: self.stack.append(tuple(self.since_mark())),
            b"d": self.new_dict,
            b"I": self.integer_line,
            b"L": lambda: self.stack.append(int(self.line().rstrip(b"L"))),
            b"F": lambda: self.stack.append(float(self.line())),
            b"\x8a": lambda: self.long(self.number("<B")),
            b"\x8b": lambda: self.long(self.number("<i")),
            b"S": self.quoted_line,
            b"V": lambda: self.stack.append(str(self.long_line(), "raw-unicode-escape")),
            b"c": lambda: self.name(self.line().decode(), self.line().decode()),
            b"\x93": self.name_from_stack,
            b"R": self.call,
            b"b": self.build,
            b"p": lambda: self.put(int(self.line())),
            b"g": lambda: self.recall(int(self.line())),
            b"\x94": lambda: self.put(len(self.memo)),
            **{code: partial(self.counted, *how) for code, how in _COUNTED.items()},
            **{code: partial(self.push_number, how) for code, how in _NUMBERS.items()},
            **{code: partial(self.push_made, make) for code, make in _CONSTANTS.items()},
            **{code: partial(self.put_as, how) for code, how in _PUT.items()},
            **{code: partial(self.recall_as, how) for code, how in _GET.items()},
            **{code: partial(self.small_tuple, count) for code, count in _TUPLES.items()},
        }

    # ------------------------------------------------------------------------------------------------------ the file
    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        if not 0 <= count <= self.size - self.at:
            raise ValueError(f"ends at byte {self.size}, in the middle of a value of {count} bytes")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, how: str) -> Any:
        return struct.unpack(how, self.take(struct.calcsize(how)))[0]

    def long_line(self) -> bytes:
        end = self.data.find(b"\n", self.at)
        if end < 0:
            raise ValueError(f"ends at byte {self.size}, in the middle of a line")
        self.spend(end - self.at)
        return self.take(end + 1 - self.at)[:-1]

    def line(self) -> bytes:
        if self.data.find(b"\n", self.at, self.at + _LINE_BYTES) < 0:
            raise ValueError(f"no end of a short line at byte {self.at}")
        return self.long_line().rstrip(b"\r")

    def spend(self, count: int) -> None:
        """Count bytes that are copied out of the file: one text may be asked for again and again."""
        self.budget -= count
        if self.budget < 0:
            raise ValueError("more decoded text than the file could need")

    # ------------------------------------------------------------------------------------------------------- numbers
    def push_number(self, how: str) -> None:
        self.stack.append(self.number(how))

    def push_made(self, make: Callable[[], Any]) -> None:
        self.stack.append(make())

    def integer_line(self) -> None:
        line = self.line()
        self.stack.append({b"00": False, b"01": True}[line] if line in {b"00", b"01"} else int(line))

    def long(self, count: int) -> None:
        if not 0 <= count <= 255:
            raise ValueError(f"a whole number of {count} bytes")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def protocol(self) -> None:
        version = self.number("<B")
        if version > _HIGHEST_PROTOCOL:
            raise ValueError(f"protocol {version}, of which nothing is known")

    def skip_frame(self) -> None:
        # A frame is only a hint how much to read at once.
        self.number("<Q")

    # --------------------------------------------------------------------------------------------------------- texts
    def counted(self, how: str, what: str) -> None:
        count = self.number(how)
        if not 0 <= count <= self.size - self.at:
            raise ValueError(f"a text of {count} bytes where {self.size - self.at} are left")
        if count > _SHORT_BYTES:
            self.stack.append(Stretch(self.at, count, text=what == "text"))
            self.at += count
            return
        raw = self.take(count)
        codings = {"text": ("utf-8", "surrogatepass"), "python2": ("latin-1",)}
        self.stack.append(raw if what == "bytes" else str(raw, *codings[what]))

    def quoted_line(self) -> None:
        line = self.long_line().strip()
        if len(line) < 2 or line[:1] not in b"'\"" or line[:1] != line[-1:]:
            raise ValueError("a text without its quotes")
        raw = codecs.escape_decode(line[1:-1])[0]
        self.stack.append(str(raw, "latin-1") if len(raw) <= _SHORT_BYTES else raw)

    def text(self, value: Any) -> Any:
        """Return a text of the file in memory."""
        if not (isinstance(value, Stretch) and value.text):
            return value
        self.spend(value.size)
        return str(self.data[value.start : value.start + value.size], "utf-8", "surrogatepass")

    # ---------------------------------------------------------------------------------------------------- containers
    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("takes more values than it has brought")
        return self.stack.pop()

    def drop(self) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def drop_to_mark(self) -> None:
        self.since_mark()

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def small_tuple(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.stack.append(tuple(items[::-1]))

    def extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise ValueError("adds to a list where there is none")
        self.stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(items) % 2:
            raise ValueError("adds to a dict where there is none")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | bytes | int | float) or isinstance(key, _Name):
                raise ValueError(f"a dict with a key of type {type(key).__name__}")
            self.stack[-1][text_of(key) if isinstance(key, bytes) else key] = value

    def new_dict(self) -> None:
        items = self.since_mark()
        self.stack.append({})
        self.update(items)

    # ---------------------------------------------------------------------------------------------------------- memo
    def put(self, number: int) -> None:
        value = self.stack[-1]
        if isinstance(value, Half):
            value.known_as.append(number)
        self.memo[number] = value

    def put_as(self, how: str) -> None:
        self.put(self.number(how))

    def recall(self, number: int) -> None:
        if number not in self.memo:
            raise ValueError(f"recalls value {number}, which was never stored")
        self.stack.append(self.memo[number])

    def recall_as(self, how: str) -> None:
        self.recall(self.number(how))

    # --------------------------------------------------------------------------------------------------------- names
    def name(self, module: str, name: str) -> None:
        if (module, name) not in ALLOWED:
            raise ValueError(f"blocked '{module}.{name}'"[:120] + ": only arrays, containers, texts and numbers are read")
        self.stack.append(_Name(ALLOWED[module, name]))

    def name_from_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise ValueError("a function without a name")
        self.name(module, name)

    def call(self) -> None:
        given, name = self.pop(), self.pop()
        if type(name) is not _Name or type(given) is not tuple:
            raise ValueError("calls what is no function")
        self.stack.append(self._made(str(name), given))

    def _made(self, name: str, given: tuple[Any, ...]) -> Any:
        if name == "reconstruct" and len(given) == 3 and type(given[0]) is _Name and given[0] == "ndarray":
            return Half("ndarray")
        if name == "dtype" and given:
            return number_type(given[0])
        if name == "scalar" and len(given) == 2:
            return scalar(*given)
        if name == "encode" and len(given) == 2:
            raw = latin(self.text(given[0]), given[1]).encode("latin-1")
            self.spend(len(raw) if len(raw) > _SHORT_BYTES else 0)
            return raw
        if name == "frombuffer" and len(given) == 4:
            return described(self.path, *given[:3], fortran=text_of(given[3]) == "F")
        if name == "bytes" and not given:
            return b""
        raise ValueError(f"a call of {name} that is not understood")

    def build(self) -> None:
        state, half = self.pop(), self.pop()
        if not isinstance(half, Half):
            raise ValueError(f"gives a state to a value of type {type(half).__name__}")
        built = ordered(half, state) if half.what == "dtype" else from_state(self.path, state)
        self.stack.append(built)
        for number in half.known_as:
            if self.memo.get(number) is half:
                self.memo[number] = built


def _say(code: bytes) -> str:
    import pickletools

    known = {word.code: word for word in pickletools.opcodes}.get(code.decode("latin-1"))
    return f"the word {known.name}, which data do not need" if known else f"no word of a pickle ({code!r})"
