"""What a model folder that a stranger made may do: be refused in one line, and nothing else.

A digest says that weights are those that ``model.json`` names; it says nothing of ``model.json`` itself. So its words are held
to what they can mean: names are names of files in the folder, numbers are of a size that networks have, and building a network
may take no more memory and no more steps than the weights that came with it can fill.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from biosig_mtl.types import DataError, Head, InputSpec

MOST_WORDS = 256 * 2**20  # bytes of JSON; a run of 1 M windows has some 10 MB
MOST_BYTES = 64 * 2**30  # of one file of weights
LARGEST = 10**8  # of a width, a number of samples, a count of layers
# What a network may make while it is built: numbers, and tensors. Some are thrown away (starts of weights) or in no file.
SPARE_NUMBERS, TIMES_NUMBERS = 2**25, 16
SPARE_TENSORS, TIMES_TENSORS = 20_000, 100

MAKERS: frozenset[Callable[..., Any]] = frozenset(
    (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint, torch.eye)
)
SERIES: frozenset[Callable[..., Any]] = frozenset((torch.arange, torch.linspace, torch.randperm))


# What words of another kind than meant lead to.
ODD = (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, ArithmeticError, MemoryError)


@contextmanager
def refused(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a stranger's words into one line that names their file."""
    from safetensors import SafetensorError

    try:
        yield
    except (*ODD, SafetensorError) as error:
        why = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(f"{path}: damaged or not made by this program ({why}): copy the model folder again") from error


def read_whole(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file; raise `OSError` where it is none, or larger than ``most`` bytes."""
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    if path.stat().st_size > most:
        raise OSError(27, f"larger than {most} bytes", str(path))
    return path.read_bytes()


def plain_name(name: str) -> str:
    """Return a name of a file in a folder; raise `ValueError` where it leads elsewhere."""
    if Path(name).name != name or "\\" in name or not name.isprintable():
        raise ValueError(f"need the name of a file in the folder, got {name!r}")
    return name


def check_numbers(told: Any) -> None:
    """Raise `ValueError` where a number in nested words is larger than networks have."""
    waiting = [told]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, int | float) and abs(one) > LARGEST:
            raise ValueError(f"need numbers up to {LARGEST}, got {one}")


def check_scales(scales: Mapping[str, NDArray[Any]], spec: InputSpec) -> None:
    """Raise `ValueError` where the scaler of a network is not one of its inputs and targets."""
    lengths = {"feature": len(spec.features), "waveform": len(spec.waveform_channels), "target": len(spec.targets)}
    for key, values in scales.items():
        wanted = lengths[key.partition("_")[0]]
        if values.size != wanted:
            raise ValueError(f"need {wanted} numbers of {key}, got {values.size}")


def check_heads(heads: Sequence[Head], targets: int) -> None:
    """Raise `ValueError` where there is neither a head for each target nor none, or a kind that is unknown."""
    if len(heads) not in {0, targets}:
        raise ValueError(f"need no heads or {targets}, got {len(heads)}")
    if odd := [head.kind for head in heads if head.kind not in get_args(get_type_hints(Head)["kind"])]:
        raise ValueError(f"need heads of known kinds, got {odd[0]!r}")


class Bounded(TorchFunctionMode):
    """Inside, torch makes no more numbers and tensors than a network with these weights has use for.

    Raises
    ------
    ValueError
        More were asked for; nothing of that size was made.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.numbers = SPARE_NUMBERS + TIMES_NUMBERS * sum(w.numel() for w in weights.values())
        self.tensors = SPARE_TENSORS + TIMES_TENSORS * len(weights)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        words = dict(kwargs or {})
        if func in MAKERS or func in SERIES:
            self.numbers -= _length(args) if func in SERIES else _size(args, words)
            self.tensors -= 1
            if self.numbers < 0 or self.tensors < 0:
                raise ValueError("the settings ask for a network that is larger than its weights")
        return func(*args, **words)


def _size(args: tuple[Any, ...], words: Mapping[str, Any]) -> int:
    told = words.get("size")
    if told is None:
        told = next((one for one in args if isinstance(one, tuple | list)), args)
    return math.prod(int(n) for n in told if isinstance(n, int))


def _length(args: tuple[Any, ...]) -> int:
    return int(max((abs(float(n)) for n in args if isinstance(n, int | float)), default=0.0))
