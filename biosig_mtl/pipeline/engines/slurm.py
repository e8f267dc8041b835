"""Workers as jobs of SLURM: the recipe's block ``cluster``, and the scheduler that dask-jobqueue makes of it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biosig_mtl.recipe import build
from biosig_mtl.types import RecipeError

_SIZE = r"a number of bytes with its unit, as 8GB"


# One thread a worker; and memory that is freed is kept for the next array (see the same settings of `dask_crew`).
MALLOC = {"MALLOC_TRIM_THRESHOLD_": 2**27, "MALLOC_MMAP_THRESHOLD_": 2**25}
_EXPORTS = (
    "export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1",
    # As one value: of the names of variables Dask would make small letters.
    f'export DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON="{MALLOC}"',
)


@dataclass(frozen=True)
class Cluster:
    """What is asked of SLURM; it says where a preparation runs and never what comes of it, so no digest holds it.

    One job has ``cores`` workers of one thread each, which share ``memory``. ``jobs`` of them are asked for; the preparation
    begins with the first. ``walltime`` is ``HH:MM:SS``. ``directives`` are further
    lines of ``#SBATCH``; ``prologue`` are lines of shell before a worker starts (``module load …``, ``source …/activate``).
    ``interface`` is the network between the machines (``ib0``), ``scratch`` a folder on each machine for what a worker spills.
    """

    queue: str = ""
    account: str = ""
    cores: int = 1
    memory: str = "4GB"
    walltime: str = "01:00:00"
    jobs: int = 1
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    interface: str = ""
    scratch: str = ""

    def __post_init__(self) -> None:
        """Refuse nonsense."""
        if self.cores < 1 or self.jobs < 1:
            raise ValueError(f"need cores >= 1 and jobs >= 1, got {self.cores}, {self.jobs}")
        if not self.memory[:1].isdigit() or not self.memory[-1:].isalpha():
            raise ValueError(f"need memory as {_SIZE}, got '{self.memory}'")
        words = self.walltime.replace("-", ":").split(":")
        if not 2 <= len(words) <= 4 or not all(word.isdigit() for word in words):
            raise ValueError(f"need walltime as HH:MM:SS (in quotes), got '{self.walltime}'")
        lines = (*self.directives, *self.prologue, self.queue, self.account, self.interface, self.scratch)
        if any("\n" in line for line in lines):
            raise ValueError("need every directive and line of the prologue on a line of its own")

    def words(self) -> dict[str, Any]:
        """Return what dask-jobqueue calls these settings."""
        named = {
            "queue": self.queue,
            "account": self.account,
            "interface": self.interface,
            "local_directory": self.scratch,
        }
        return {
            "cores": self.cores,
            "processes": self.cores,
            "memory": self.memory,
            "walltime": self.walltime,
            "job_name": "biosig-mtl",
            "job_extra_directives": list(self.directives),
            # Each worker is a process: threads of the linear algebra beside it would only be in its way.
            "job_script_prologue": [*_EXPORTS, *self.prologue],
            **{word: value for word, value in named.items() if value},
        }


def read_cluster(block: Mapping[str, Any]) -> Cluster | None:
    """Return the settings of a recipe's block ``cluster``; None where there is none.

    Raises
    ------
    RecipeError
        An unknown word or nonsense.
    """
    return build(Cluster, block, "cluster") if block else None


def start(settings: Cluster, *, scale: bool = True) -> Any:
    """Start a scheduler in this process and ask SLURM for the jobs of its workers; return dask-jobqueue's cluster.

    Without ``scale`` no job is asked for yet: ``job_script()`` of the cluster shows what would be.

    Raises
    ------
    RecipeError
        There is no SLURM here, or it refuses such a job.
    """
    from dask_jobqueue.slurm import SLURMCluster

    made: Any = SLURMCluster(**settings.words(), scheduler_options={"dashboard": False})
    if scale:
        try:
            _ask_whether(made.job_script())
        except BaseException:
            made.close()
            raise
        made.scale(jobs=settings.jobs)
    return made


def _ask_whether(script: str) -> None:
    """Let SLURM look at a job before it is handed in: what dask-jobqueue is refused later nobody would be told."""
    if shutil.which("sbatch") is None:
        raise RecipeError("cluster: there is no `sbatch` here; start this on a login node, or use --scheduler or --shard")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.sh"
        path.write_text(script, encoding="utf-8")
        asked = subprocess.run(["sbatch", "--test-only", str(path)], capture_output=True, text=True, check=False)
    if asked.returncode:
        why = (asked.stderr.strip() or asked.stdout.strip() or "no reason is given").splitlines()[-1]
        raise RecipeError(f"cluster: SLURM refuses such a job: {why}")
