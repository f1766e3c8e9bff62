"""An installation under load, printed: python -m tests.load --help"""

import argparse
import contextlib
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.site import servers, trained
from tests.site.processes import ROOT, Command, ask, clean_environment, ended, family, free_port

MIB = 1 << 20
GOAL = 300  # ms: p95 of what 50 people ask for
SETTLED = 5  # seconds of peace before memory is told
SAMPLES = 20  # of memory; and trainings, where small runs really train
TOLD = 5  # of them
CLONE = f"{trained.RUN}/clone/"


def main() -> int:
    options = _options()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="distillhub-load-")))
        more = {}
        if options.database == "postgres":
            more["DATABASE_URL"] = stack.enter_context(servers.postgres())
        env = clean_environment(folder / "home", **more)
        _say(f"{psutil.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.database}")
        found = _fill(folder, env, options)
        where = ["--home", str(folder / "home"), "--port", str(free_port())]
        where += ["--web-processes", str(options.web_processes)]
        up = Command(folder / "home", "up", *where, "--no-demo", env=env)
        stack.enter_context(ended(up))
        up.until_said("Ctrl-C stops everything")
        address = up.until_said(r"Address +(\S+)").group(1)
        if options.trainings:
            trained.launch(address, found["token"], epochs=20)
        time.sleep(SETTLED)
        held, spent = [_memory(folder / "home")], _spent(folder / "home")
        with _live(folder, env, options, found) as live:
            people = _people(folder, address, options)
            while people.poll() is None:
                if options.trainings:
                    ask(address, CLONE, token=found["token"], body={})
                with contextlib.suppress(subprocess.TimeoutExpired):
                    people.wait(timeout=options.seconds / SAMPLES)
                held.append(_memory(folder / "home"))
        if not (folder / "told_stats.csv").exists():
            raise SystemExit((folder / "locust.log").read_text())
        spent = _spent(folder / "home") - spent
        asked = _tell_requests(folder)
        _say(f"{'':34}{spent / max(asked, 1) * 1000:.0f} ms of CPU of web and worker for each")
        _tell_points(live)
        time.sleep(SETTLED)
        _tell_memory([*held[:-1], _memory(folder / "home")])
        _say(f"load {os.getloadavg()[0]:.1f}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load")
    parser.add_argument("--runs", type=int, default=10_000, help="that have ended (10000)")
    parser.add_argument("--points", type=int, default=50, help="of each series of a run (50)")
    parser.add_argument("--viewers", type=int, default=50, help="people who look (50)")
    parser.add_argument("--live", type=int, default=20, help="runs in training (20)")
    parser.add_argument("--rate", type=int, default=100, help="points of each a second (100)")
    parser.add_argument("--seconds", type=int, default=180, help="(180)")
    parser.add_argument("--web-processes", type=int, default=1, help="(1)")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--trainings", action="store_true", help="really train small runs, too")
    return parser.parse_args()


def _fill(folder: Path, env: Mapping[str, str], options: argparse.Namespace) -> dict[str, Any]:
    began = time.monotonic()
    _run(["distillhub.cli", "migrate"], env)
    wanted = [options.runs, options.points, options.live, options.viewers]
    told = _run(["tests.load.installation", *map(str, wanted)], env)
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    (folder / "found.json").write_text(json.dumps(found))
    took = time.monotonic() - began
    _say(f"{found['runs']:,} runs with {found['points']:,} points written in {took:.0f} s")
    return found


@contextlib.contextmanager
def _live(
    folder: Path, env: Mapping[str, str], options: argparse.Namespace, found: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Runs in training meanwhile; afterwards what became of their points."""
    told: dict[str, Any] = {"seconds": time.monotonic()}
    (folder / "journals").mkdir()
    arguments = [str(folder / "journals"), str(found["worker"]), str(options.rate)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.load.live", *arguments, *map(str, found["ids"])],
        cwd=ROOT,
        env=dict(env),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield told
    finally:
        process.terminate()
        rest = process.stdout.read()
        process.wait()
    told |= json.loads(rest)
    told["seconds"] = time.monotonic() - told["seconds"]


def _people(folder: Path, address: str, options: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "locust", "--headless", "--only-summary"]
    command += ["--locustfile", str(Path(__file__).with_name("locustfile.py")), "--host", address]
    command += ["--users", str(options.viewers), "--spawn-rate", "5", "--reset-stats"]
    command += ["--run-time", f"{options.seconds}s", "--csv", str(folder / "told")]
    with (folder / "locust.log").open("wb") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "LOAD": str(folder / "found.json")},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _tell_requests(folder: Path) -> int:
    """How many there were."""
    asked = 0
    _say(f"\n{'':34}{'asked':>7}{'failed':>8}{'p50':>8}{'p95':>8}{'most':>8}   ms")
    with (folder / "told_stats.csv").open() as file:
        for row in csv.DictReader(file):
            asked = int(row["Request Count"])  # of all, at last
            slow = "   over the goal" if float(row["95%"]) > GOAL else ""
            _say(
                f"{row['Name']:34}{row['Request Count']:>7}{row['Failure Count']:>8}"
                f"{row['50%']:>8}{row['95%']:>8}{float(row['Max Response Time']):8.0f}{slow}"
            )
    failures = (folder / "told_failures.csv").read_text().splitlines()[1:]
    for line in failures[:10]:
        _say(f"  {line}")
    return asked


def _tell_points(told: Mapping[str, Any]) -> None:
    rate = told["points"] / max(told["seconds"], 1)
    _say(
        f"\n{told['points']:,} points told by runs in training ({rate:.0f} a second), "
        f"{told['lost']} lost or doubled; recording a batch took {told['slowest']:.1f} s at most, "
        f"{told['busy']} waited in the journal for a busy database"
    )


def _spent(home: Path) -> float:
    """Seconds of CPU of web and worker, and of what the worker has waited for."""
    spent = 0.0
    for process in family(home):
        with contextlib.suppress(psutil.Error):
            if {"web", "worker"} & set(process.cmdline()):
                spent += sum(process.cpu_times()[:4])
    return spent


def _memory(home: Path) -> dict[str, float]:
    """MiB of each process; what several share is counted once (PSS)."""
    found = {}
    for process in family(home):
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "distillhub.cli" in words:
                name = words[words.index("distillhub.cli") + 1]
                found[f"{name} {process.pid}"] = process.memory_full_info().pss / MIB
    return found


def _tell_memory(held: Sequence[Mapping[str, float]]) -> None:
    """From before the first request to after the last."""
    _say("\nMiB, with sharing counted once, from before the first request to after the last")
    chosen = [held[round(place * (len(held) - 1) / (TOLD - 1))] for place in range(TOLD)]
    for name in sorted({name for one in held for name in one}):
        told = [f"{one[name]:9.1f}" if name in one else f"{'-':>9}" for one in chosen]
        _say(f"  {name:16}{''.join(told)}")


def _run(arguments: Sequence[str], env: Mapping[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
