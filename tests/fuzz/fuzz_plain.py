"""Fuzzing of targets by changes that know where a format hurts: ``python tests/fuzz/fuzz_plain.py TARGET … --runs 100000``.

Needs nothing but the package. It goes on after a finding, keeps the input in ``--found`` and writes a line for each kind of it;
what guides by coverage is ``fuzz_atheris.py``.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.harness import Finding, Target, all_targets, join, seeds_of, split

# Borders of numbers, what leads out of a folder, what ends a line or a text early, what no coding knows.
WORDS: tuple[bytes, ...] = (
    b"0",
    b"-1",
    b"1",
    b"3",
    b"2147483648",
    b"4294967295",
    b"9" * 18,
    b"9" * 40,
    b"9" * 5000,
    b"-9999999999",
    b"1e308",
)
WORDS += (b"-1e308", b"1e-320", b"nan", b"-inf", b"1e999", b"0x10", b"1_0", b"../rec.dat", b"/etc/passwd", b"~", b"rec", b"..")
WORDS += (b"\x00", b"\xff\xfe", b"\xc3\xa9", b"\x1b[2J", b"\x0c", b"\xe2\x80\xa8", b"%s", b"#", b"16x999999999", b"212", b"516")
WORDS += (b"8", b"24", b"32", b"61", b"80", b"160", b"310", b"311", b"x" * 300)
NUMBERS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\x7f\xff\xff\xff", b"\0\0\1\0", b"\b\0\0\0")
_WORD = re.compile(rb"[^\s/(),:+x=]+")


def mutate(rng: random.Random, data: bytes, count: int) -> bytes:
    """Return an input with one to four changes, each in one of its ``count`` files."""
    parts = split(data, count)
    for _ in range(rng.choice((1, 1, 2, 2, 3, 4))):
        number = rng.randrange(count)
        parts[number] = _change(rng, parts[number])
    return join(*parts)


def _change(rng: random.Random, part: bytes) -> bytes:
    at, how = rng.randrange(len(part) + 1), rng.randrange(7)
    if how == 0:
        begin, end = rng.choice([m.span() for m in _WORD.finditer(part)] or [(0, 0)])
        return part[:begin] + rng.choice(WORDS) + part[end:]
    if how == 1:
        at = at // 4 * 4
        return part[:at] + rng.choice(NUMBERS) + part[at + 4 :]
    if how == 2:
        return part[:at]
    size = rng.randrange(1, 64)
    new = (part[at : at + size] * 2, b"", rng.randbytes(rng.randrange(8)), bytes([rng.randrange(256)]))[how - 3]
    return part[:at] + new + part[at + (1 if how == 6 else size if how < 5 else len(new)) :]


def fuzz(target: Target, runs: int, seed: int, found: Path) -> dict[str, int]:
    """Run one target and return how often each kind of finding came up; an input of each is kept in ``found``."""
    rng = random.Random(seed)
    pool: Sequence[bytes] = [target.good(), *(path.read_bytes() for path in seeds_of(target.name))]
    kinds: dict[str, int] = {}
    for _ in range(runs):
        data = mutate(rng, pool[0] if rng.random() < 0.7 else rng.choice(pool), len(target.files))
        try:
            target(data)
        except Finding as error:
            kind = re.sub(r"/\S+|\d+", "…", str(error))[:80]
            if kind not in kinds:
                found.mkdir(parents=True, exist_ok=True)
                place = found / f"{target.name}_{seed}_{len(kinds)}"
                place.write_bytes(data)
                print(f"{target.name}: {str(error)[:300]} ({place})", flush=True)  # noqa: T201 (a script)
            kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


def main() -> None:
    """Fuzz some targets, or all."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    told.add_argument("targets", nargs="*")
    told.add_argument("--runs", type=int, default=10_000)
    told.add_argument("--seed", type=int, default=0)
    told.add_argument("--found", type=Path, default=Path("/tmp/fuzz/found"))
    given = told.parse_args()
    targets = all_targets()
    failed = 0
    for name in given.targets or targets:
        begun = time.monotonic()
        kinds = fuzz(targets[name], given.runs, given.seed, given.found)
        failed += len(kinds)
        took = time.monotonic() - begun
        print(f"{name}: {given.runs} runs, seed {given.seed}, {len(kinds)} kinds of findings, {took:.0f} s", flush=True)  # noqa: T201
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
