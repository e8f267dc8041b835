"""Nested values with tensors in them, as bytes that run no code: safetensors for numbers, JSON for everything else.

The bytes are a safetensors file whose metadata hold the JSON (with a number for each tensor) and the sha256 of both, so that
a flipped bit, a lost end or another header is told from what was written. What a stranger made on purpose has a sum that fits:
the values are then still only numbers, words and lists, and whoever takes them up has to look at them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from biosig_mtl.types import DataError

MOST_WORDS = 256 * 2**20  # bytes of JSON
HEADER = 8  # bytes that say how long the header of a safetensors file is


def pack(value: Any) -> bytes:
    """Return ``value`` as bytes: None, bool, int, float, str, tensors, and lists, tuples and dicts of these.

    Raises
    ------
    TypeError
        Anything else is in it.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    words = json.dumps(_plain(value, tensors))
    # One entry: the order of several is not the same every time, and equal values should be equal bytes.
    return save(tensors, {"packed": f"{_digest(words, tensors)} {words}"})


def unpack(content: bytes) -> Any:
    """Return what `pack` was given; tensors lie on the CPU.

    Raises
    ------
    DataError
        The bytes are not whole or not those that `pack` returned.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        digest, _, words = _metadata(content)["packed"].partition(" ")
        tensors = load(content)
        if _digest(words, tensors) != digest:
            raise DataError("damaged: its sha256 differs")
        return _filled(json.loads(words), tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DataError("damaged: not readable as packed values") from error


def _metadata(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:HEADER], "little")
    if not 0 < length <= min(len(content) - HEADER, MOST_WORDS):
        raise ValueError(f"need a header of 1 to {MOST_WORDS} bytes, got {length}")
    found: dict[str, str] = json.loads(content[HEADER : HEADER + length])["__metadata__"]
    return found


def _digest(words: str, tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256(words.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"|{name} {tensor.dtype} {tuple(tensor.shape)}|".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def _plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return a value as JSON: what is not a plain number or word is a list that begins with its kind."""
    if isinstance(value, Tensor):
        # A copy: two names for the same memory, or a view of a larger one, are refused by safetensors.
        tensors[str(len(tensors))] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return ["tensor", str(len(tensors) - 1)]
    if isinstance(value, Mapping):
        return ["dict", [[_plain(k, tensors), _plain(v, tensors)] for k, v in value.items()]]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_plain(v, tensors) for v in value]]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"need numbers, words, tensors, lists and dicts, got {type(value).__name__}")


def _filled(told: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(told, list):
        return told
    kind, content = told
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_filled(k, tensors): _filled(v, tensors) for k, v in content}
    made = [_filled(v, tensors) for v in content]
    return tuple(made) if kind == "tuple" else made
