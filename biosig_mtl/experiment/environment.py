"""Under which conditions a run was made: whatever may move its figures, and nothing that names a machine or a person.

Left out on purpose are the command line, paths, the names of host and user, process numbers and the time of day: the first four
may identify somebody, and none of them moves a figure. Two runs of one recipe on one machine therefore write the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from biosig_mtl.recipe_text import read_yaml

# The package, what it needs, and those extras that take part in a figure.
PACKAGES = (
    "biosig-mtl", "numpy", "scipy", "pandas", "pyarrow", "scikit-learn", "torch", "safetensors", "wfdb", "mne", "h5py",
    "openpyxl", "pyyaml", "pydantic", "typer", "tqdm", "rich", "jinja2", "matplotlib",
    "torchjd", "qpsolvers", "quadprog", "soundfile", "joblib", "threadpoolctl",
)  # fmt: skip
# What the libraries of linear algebra read; one that is not set is left out.
VARIABLES = (
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS",
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES", "CUBLAS_WORKSPACE_CONFIG",
)  # fmt: skip
# Instructions by which the libraries choose a kernel, and so the order in which they add.
FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_bf16",
    "amx_tile", "asimd", "sve", "bf16",
)  # fmt: skip
CPUINFO = Path("/proc/cpuinfo")
# Bounds on what is copied from the environment into a run folder: a word of a setting, not a message.
_WORD = re.compile(r"[A-Za-z0-9_.,:+ -]{1,60}")


def describe(recipe: Path, stores: Sequence[Path]) -> dict[str, Any]:
    """Return what may move the figures of a run.

    Parameters
    ----------
    recipe
        ``recipe.yaml`` of the run; its digest and seeds are told where it is there.
    stores
        Folders of the window stores; told by name and by the sha256 of their ``store.json``, which holds that of every file.
    """
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()),
        "processor": processor(),
        "variables": {name: value for name in VARIABLES if (value := os.environ.get(name)) and _WORD.fullmatch(value)},
        "torch": torch_build(),
        "numpy": numpy_build(),
        "packages": packages(),
        "source": source_digest(Path(__file__).parents[1]),
        "recipe": {"sha256": sha256(recipe), "seeds": seeds_of(recipe)},
        "stores": [folder.name for folder in stores],
        "store_sha256": {folder.name: sha256(folder / "store.json") for folder in stores},
    }


def packages() -> dict[str, str]:
    """Return the versions of `PACKAGES` that are installed."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def processor(cpuinfo: Path | None = None) -> dict[str, Any]:
    """Return the model of the processor and those of its `FLAGS` that it has; where nothing tells, what Python knows."""
    try:
        lines = (cpuinfo or CPUINFO).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    told: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        told.setdefault(key.strip().lower(), value.strip())
    has = set((told.get("flags") or told.get("features") or "").split())
    return {"model": told.get("model name") or platform.processor() or "unknown", "flags": [f for f in FLAGS if f in has]}


def torch_build() -> dict[str, Any]:
    """Return how torch was built and what it chose here: libraries, kernels, threads of its own default, accelerator."""
    import torch

    shown = torch.__config__.show()
    libraries = {
        "mkl": r"Math Kernel Library Version ([0-9.]+)",
        "onednn": r"MKL-DNN v([0-9.]+)",
        "blas": r"BLAS_INFO=([A-Za-z0-9_]+)",
    }
    found: dict[str, Any] = {name: match[1] for name, pattern in libraries.items() if (match := re.search(pattern, shown))}
    cuda = torch.cuda.is_available()
    return found | {
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if cuda else None,
        "accelerator": torch.cuda.get_device_name() if cuda else None,
        "float32_products": torch.get_float32_matmul_precision(),
    }


def numpy_build() -> dict[str, str]:
    """Return which library of linear algebra numpy calls."""
    import numpy as np

    told: Any = np.show_config(mode="dicts")  # type: ignore[call-overload, unused-ignore]
    blas = (told or {}).get("Build Dependencies", {}).get("blas", {})
    return {"blas": str(blas.get("name", "unknown")), "version": str(blas.get("version", "unknown"))}


def source_digest(package: Path) -> str:
    """Return the sha256 of our own modules: path and content of each, in the order of their paths.

    Line ends do not count: a checkout on another system is the same program.
    """
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py"), key=lambda p: p.relative_to(package).as_posix()):
        content = path.read_bytes().replace(b"\r\n", b"\n")
        found.update(f"{path.relative_to(package).as_posix()} {hashlib.sha256(content).hexdigest()}\n".encode())
    return found.hexdigest()


def seeds_of(recipe: Path) -> list[int]:
    """Return the seeds of a written recipe; none where it tells none."""
    content: Any = read_yaml(recipe) if recipe.is_file() else None
    split = content.get("split") if isinstance(content, Mapping) else None
    return [int(seed) for seed in (split or {}).get("seeds") or ()]


def sha256(path: Path) -> str | None:
    """Return the sha256 of a file, None where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
