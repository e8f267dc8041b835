"""Laws of Dask as an engine: the same verdicts as those of local processes, over TCP, whoever dies."""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from biosig_mtl.pipeline.engines import Account, Cluster, Dask, chosen_engine, dask_crew, drive, read_cluster, slurm
from biosig_mtl.types import DataError, RecipeError
from tests.pipeline import stubs

pytest.importorskip("distributed")
pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX"),
    # A killed worker leaves its sockets to the garbage collector of the library.
    pytest.mark.filterwarnings("default"),
]
ROOT = Path(__file__).parents[2]


def worked(engine: Any, jobs: list[stubs.StubJob]) -> tuple[dict[int, tuple[str, ...]], Account, list[str]]:
    account = Account()
    told: list[str] = []
    with engine.open(stubs.work, len(jobs)) as crew:
        done = dict(drive(crew, jobs, account, told.append))
    return done, account, told


# ------------------------------------------------------------------------------------------------------------- whoever dies
@pytest.mark.slow
def test_the_verdicts_are_those_of_local_processes(tmp_path: Path) -> None:
    jobs = stubs.lots_of(
        tmp_path, ["a", "b"], ["c", "kill-1", "d"], ["once-1", "e"], ["f", "hungry-1"], ["hang-1", "g"], limit_s=1.0
    )
    done, account, told = worked(Dask(workers=2, one_thread=True), jobs)
    assert done == {0: ("a", "b"), 1: ("c", "d"), 2: ("once-1", "e"), 3: ("f",), 4: ("g",)}
    assert sorted(account.quarantined) == ["hang-1", "hungry-1", "kill-1"]
    assert "hang-1: left out: this record took longer than 1 s, 3 times" in told
    assert not list(tmp_path.glob("lots/.*"))
    # A mistake of ours is told as one, and not tried again.
    with pytest.raises(DataError, match="a worker met an unexpected ZeroDivisionError"):
        worked(Dask(workers=1), stubs.lots_of(tmp_path, ["bug-1"]))


@pytest.fixture(scope="module")
def scheduler() -> Iterator[tuple[str, Any]]:
    """A scheduler and a worker that somebody else has started."""
    code = "import sys; from distributed.cli.{0} import main; sys.argv[1:] = {1!r}; main()"

    def start(what: str, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore", "-c", code.format(what, [*words, "--no-dashboard"])]
        return subprocess.Popen(
            command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )

    head = start("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show")
    assert head.stderr is not None
    address = next(line.split()[-1] for line in head.stderr if "Scheduler at:" in line)
    worker = start("dask_worker", address, "--nthreads", "2", "--host", "127.0.0.1", "--no-nanny")
    yield address, head
    for process in (worker, head):
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_scheduler_that_runs_already_and_then_is_lost(tmp_path: Path, scheduler: tuple[str, Any]) -> None:
    address, head = scheduler
    told: list[str] = []
    done, account, _ = worked(Dask(address, tell=told.append), stubs.lots_of(tmp_path, ["a"], ["b"]))
    assert (done, account.retries) == ({0: ("a",), 1: ("b",)}, 0)
    with pytest.raises(RecipeError, match="--record-timeout: needs workers of one thread"):
        worked(Dask(address, one_thread=True), stubs.lots_of(tmp_path, ["a"]))
    began_s = time.monotonic()
    gone = f"{address}: the scheduler of Dask is gone; run the same command again"
    jobs = stubs.lots_of(tmp_path, ["a"], ["hang-1"], ["hang-2"])

    def lose() -> None:
        with Dask(address).open(stubs.work, 3) as crew:
            for _ in drive(crew, jobs, Account()):
                head.send_signal(signal.SIGKILL)

    with pytest.raises(DataError, match=gone) as error:
        lose()
    assert "\n" not in str(error.value)
    assert time.monotonic() - began_s < 60  # it does not wait for ever


def test_the_library_is_quiet_where_one_of_its_loggers_has_a_level_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    own = logging.getLogger("distributed.client")
    before = own.level
    own.setLevel(logging.WARNING)
    try:
        with dask_crew._quiet():
            own.error("a traceback of the library")
        assert not caplog.records
        assert own.level == logging.WARNING
    finally:
        own.setLevel(before)


@pytest.mark.slow
def test_no_scheduler_at_an_address_is_one_line() -> None:
    with pytest.raises(DataError, match=r"--scheduler tcp://127\.0\.0\.1:9: no scheduler of Dask answers there"):
        worked(Dask("tcp://127.0.0.1:9", patience_s=0.5), [])


class FakeFuture:
    """A future of which it is known already how it ends."""

    def __init__(self, error: BaseException | None = None, status: str = "error", fails: BaseException | None = None) -> None:
        self.status, self._error, self._fails = status, error, fails

    def add_done_callback(self, call: Any) -> None:
        call(self)

    def cancelled(self) -> bool:
        return self.status == "cancelled"

    def exception(self) -> BaseException | None:
        if self._fails is not None:
            raise self._fails
        return self._error

    def release(self) -> None:
        self.status = "released"


class FakeClient:
    """A client whose scheduler has as many workers as it is told."""

    status = "running"

    def __init__(self, threads: list[int | None], future: FakeFuture | None = None) -> None:
        self._threads, self._future = threads, future

    def nthreads(self) -> dict[str, int]:
        n = self._threads.pop(0) if len(self._threads) > 1 else self._threads[0]
        if n is None:
            raise OSError("connection closed")
        return {"tcp://w:1": n} if n else {}

    def submit(self, *_job: Any, **_more: Any) -> FakeFuture:
        if self._future is None:
            raise RuntimeError("client is closed")
        return self._future


def a_crew(client: FakeClient, told: list[str] | None = None) -> dask_crew._Crew:
    return dask_crew._Crew(client, "tcp://s:1", stubs.work, Dask("tcp://s:1", tell=None if told is None else told.append))


def test_workers_that_come_and_go_are_counted_again_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_crew, "_LOOK_S", 0.0)
    told: list[str] = []
    crew = a_crew(FakeClient([0, 0, 3, 0, 2]), told)
    assert [crew.slots() for _ in range(5)] == [1, 1, 6, 1, 4]
    assert told == ["waiting for a worker of tcp://s:1"] * 2


@pytest.mark.parametrize(
    ("future", "expected"),
    [
        (None, "the scheduler of Dask is gone"),
        (FakeFuture(status="cancelled"), "the scheduler of Dask is gone"),
        (FakeFuture(status="lost"), "the scheduler of Dask is gone"),
        (FakeFuture(fails=OSError("closed")), "the scheduler of Dask is gone"),
        (FakeFuture(ModuleNotFoundError("no biosig_mtl")), r"cannot run this version of biosig_mtl \(no biosig_mtl\); install"),
        (FakeFuture(TypeError("what")), "tcp://s:1: a worker failed with TypeError: what"),
    ],
)
def test_whatever_fails_between_the_machines_is_one_line(future: FakeFuture | None, expected: str) -> None:
    crew = a_crew(FakeClient([1], future))
    with pytest.raises(DataError, match=expected):
        hand_out_and_wait(crew)


def hand_out_and_wait(crew: dask_crew._Crew) -> None:
    crew.start(0, None)
    crew.wait()


def test_a_scheduler_that_does_not_answer_is_gone() -> None:
    with pytest.raises(DataError, match="the scheduler of Dask is gone"):
        a_crew(FakeClient([None])).slots()
    client = FakeClient([1])
    client.status = "closed"
    with pytest.raises(DataError, match="the scheduler of Dask is gone"):
        a_crew(client).wait()


# ------------------------------------------------------------------------------------------------------------------- words
def test_the_words_of_a_command_name_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen_engine("dask", 3, "tcp://a:1", {"nonsense": 1}) == Dask("tcp://a:1", 3)
    assert chosen_engine("dask", 3, None, {"queue": "long"}) == Dask(None, 3, Cluster(queue="long"))
    with pytest.raises(RecipeError, match="did you mean 'dask'"):
        chosen_engine("dusk", 1)
    for wrong in ("nonsense", "tcp://a", "tcp://:1", "http://a:1", "tcp://a:b"):
        with pytest.raises(RecipeError, match=r"write it as tcp://HOST:PORT"):
            chosen_engine("dask", 1, wrong)
    with pytest.raises(RecipeError, match="only --engine dask has a scheduler"):
        chosen_engine("local", 1, "tcp://a:1")
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name in {"distributed", "dask_jobqueue"} and name == lacking:
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    for lacking in ("distributed", "dask_jobqueue"):
        with pytest.raises(RecipeError, match=rf"--engine dask: needs {lacking}; pip install 'biosig-mtl\[dask\]'"):
            chosen_engine("dask", 1, None, {"queue": "long"})


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"cores": 0}, "cluster: need cores >= 1"),
        ({"memory": "much"}, "need memory as a number of bytes with its unit"),
        ({"memory": "8"}, "need memory"),
        ({"walltime": "2h"}, "need walltime as HH:MM:SS"),
        ({"directives": ["a\nrm -rf x"]}, "a line of its own"),
        ({"que": "long"}, "did you mean 'queue'"),
    ],
)
def test_nonsense_in_the_block_is_one_line(block: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecipeError, match=expected):
        read_cluster(block)


def test_no_block_is_no_cluster() -> None:
    assert read_cluster({}) is None


SBATCH = """#!/bin/sh
if [ "$1" = "--test-only" ]; then
    grep -q -- "-p long" "$2" || {{ echo "sbatch: error: invalid partition specified" >&2; exit 1; }}
    exit 0
fi
echo x >> {folder}/asked
cp "$1" {folder}/job.$$
(PYTHONPATH={root} PYTHONWARNINGS=ignore setsid sh {folder}/job.$$ > {folder}/log 2>&1 & echo $! >> {folder}/pids)
echo "Submitted batch job 1"
"""


@pytest.fixture
def pretended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A SLURM that runs its jobs at once on this machine."""
    pytest.importorskip("dask_jobqueue")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH.format(folder=folder, root=ROOT), "scancel": "#!/bin/sh\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    yield folder
    for pid in (folder / "pids").read_text().split() if (folder / "pids").exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int(pid), signal.SIGKILL)


@pytest.mark.slow
def test_workers_come_as_jobs_of_slurm(tmp_path: Path, pretended: Path) -> None:
    told: list[str] = []
    settings = Cluster(queue="long", jobs=2, memory="1GB", interface="lo", scratch=str(tmp_path))
    done, account, _ = worked(Dask(cluster=settings, tell=told.append), stubs.lots_of(tmp_path, ["a"], ["b"], ["c"]))
    assert done == {0: ("a",), 1: ("b",), 2: ("c",)}
    assert account.retries == 0
    assert (pretended / "asked").read_text() == "x\n" * 2
    assert [line.partition(" of ")[0] for line in told] in ([], ["waiting for a worker"])


@pytest.mark.slow
def test_what_slurm_refuses_is_one_line(tmp_path: Path, pretended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = stubs.lots_of(tmp_path, ["a"])
    with pytest.raises(RecipeError, match=r"cluster: SLURM refuses such a job: sbatch: error: invalid partition specified$"):
        worked(Dask(cluster=Cluster(queue="short", interface="lo")), jobs)
    (pretended / "sbatch").unlink()
    monkeypatch.setattr(slurm.shutil, "which", lambda _name: None)  # type: ignore[attr-defined]
    with pytest.raises(RecipeError, match="cluster: there is no `sbatch` here"):
        worked(Dask(cluster=Cluster(queue="long", interface="lo")), jobs)


@pytest.mark.slow
def test_the_job_script_says_what_the_recipe_says() -> None:
    pytest.importorskip("dask_jobqueue")
    settings = read_cluster(
        {
            "queue": "long",
            "account": "lab",
            "cores": 4,
            "memory": "16GB",
            "walltime": "12:00:00",
            "directives": ["--constraint=avx2"],
            "prologue": ["module load python"],
        }
    )
    assert settings is not None
    made = slurm.start(settings, scale=False)
    try:
        script = made.job_script()
    finally:
        made.close()
    for line in ("-p long", "-A lab", "--cpus-per-task=4", "--mem=15G", "-t 12:00:00", "--constraint=avx2"):
        assert f"#SBATCH {line}\n" in script, script
    assert "module load python\n" in script
    assert "export OMP_NUM_THREADS=1" in script
    assert "--nworkers 4" in script
    assert "--nthreads 1" in script
