"""Coverage-guided fuzzing of one target: ``python tests/fuzz/fuzz_atheris.py TARGET --runs 100000``.

Needs ``atheris`` (``pip install atheris``; no part of the tests). What libFuzzer prints goes to the screen; a finding ends the
run with its traceback and leaves the input in ``--corpus``/../found. ``--keep FILE`` copies a reduced input to the seeds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# Words that libFuzzer may put anywhere: borders of numbers, ways out of a folder, ends of lines.
_NUMBERS = "-1 0 1 2 1e308 -1e308 1e-320 nan inf 2147483648 4294967295 9223372036854775807 99999999999999999999"
_BYTES = r"../ /etc/passwd ~ \x00 \xff\xff\xff\xff \xff\xff\xff\x7f \x00\x00\x00\x80 \x0a \x0d\x0a \x0c \x1c \xe2\x80\xa8"
# What is instrumented; all else is as fast as ever.
_READERS = (
    *("data.readers", "data.mat5", "data.inflated", "data.unpickle", "data.stored_array", "data.matlab"),
    *("recipe", "recipe_text", "live.lines"),
)


def main() -> None:
    """Fuzz one target."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    told.add_argument("target")
    told.add_argument("--runs", type=int, default=100_000)
    told.add_argument("--corpus", type=Path, default=Path("/tmp/fuzz/corpus"))
    told.add_argument("--longest", type=int, default=4096)
    told.add_argument("--plain", action="store_true", help="do not instrument: every input counts the same, only faster")
    given, more = told.parse_known_args()
    import atheris

    if given.plain:
        from tests.fuzz.harness import all_targets, seeds_of
    else:
        with atheris.instrument_imports(include=[f"biosig_mtl.{reader}" for reader in _READERS]):
            from tests.fuzz.harness import all_targets, seeds_of

            targets = all_targets()
    targets = all_targets()
    target = targets[given.target]
    corpus, found = given.corpus / target.name, given.corpus.parent / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    (corpus / "good").write_bytes(target.good())
    for seed in seeds_of(target.name):
        (corpus / seed.name).write_bytes(seed.read_bytes())
    words = given.corpus / "words.dict"
    words.write_text("\n".join(f'"{w}"' for w in (*_NUMBERS.split(), *_BYTES.split())) + "\n")
    target.warm()
    options = [
        f"-atheris_runs={given.runs}",
        f"-max_len={max(given.longest, 2 * len(target.good()))}",
        f"-dict={words}",
        "-timeout=60",
    ]
    options += ["-rss_limit_mb=4096", f"-artifact_prefix={found}/{target.name}_", "-print_final_stats=1", *more]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: target(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
