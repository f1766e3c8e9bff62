"""Commands that ask a hub over its REST API, as any program may (distillhub/client)."""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from distillhub.client import Failed, Hub, Project, Refused, Unreachable, credentials, progress

#: What the other end, or its absence, may answer.
FAULTS = (Refused, Unreachable, Failed, credentials.Unknown, LookupError, TimeoutError)


def login(options: argparse.Namespace) -> int:
    address = options.address.rstrip("/")
    if sys.stdin.isatty():
        print(f"Make a token at {address}/account/tokens/ and paste it here.", file=sys.stderr)
        token = getpass.getpass("Token: ").strip()
    else:  # never an argument: those stand in the list of processes
        token = sys.stdin.readline().strip()

    def work() -> int:
        me = Hub(address, token).me()
        file = credentials.keep(credentials.Credentials(address, token))
        print(f"Logged in to {address} as {me['username']}; kept in {file}.")
        return 0

    return _told(work)


def logout(options: argparse.Namespace) -> int:
    def work() -> int:
        address = options.address or credentials.find().address
        if not credentials.forget(address):
            print(f"No token was kept for {address}.", file=sys.stderr)
            return 1
        print(f"The token for {address} is forgotten here. Revoke it at {address}/account/tokens/.")
        return 0

    return _told(work)


def projects(options: argparse.Namespace) -> int:
    def work() -> int:
        found = [one.told for one in Hub(options.hub).projects()]
        _print(found, options.json, [("slug", "slug"), ("name", "name"), ("role", "role")])
        return 0

    return _told(work)


def upload(options: argparse.Namespace) -> int:
    def work() -> int:
        project = _project(options)
        columns = json.loads(options.columns) if options.columns else None
        with progress.moving(options.file[0]) as moved:
            version = project.upload(
                *options.file, name=options.name, task=options.task, columns=columns, moved=moved
            )
        version.wait()
        told = version.told()
        if options.json:
            print(json.dumps(told))
        else:
            print(f"{version}: {told['rows']:,} rows, {_places(told['splits'])}")
        return 0

    return _told(work)


def import_runs(options: argparse.Namespace) -> int:
    """A folder, a file, or with --server a tracking server of MLflow."""

    def work() -> int:
        project = _project(options)
        asked: dict[str, Any] = {"name": options.name, "files": options.files}
        if options.server:
            # Never an argument: those stand in the list of processes.
            token = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
            user = os.environ.get("MLFLOW_TRACKING_USERNAME", "")
            password = os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
            asked = {
                "server": options.server,
                "user": user,
                "token": password if user else token,
                "experiments": options.experiment or [],
            }
        elif not options.source:
            print("Name a folder or file, or a --server.", file=sys.stderr)
            return 1
        with progress.moving(str(options.source or options.server)) as moved:
            made = project.import_runs(options.source or "", moved=moved, **asked)
        made.wait()
        told = made.told()
        if not options.look:
            made.take().wait()
            told = made.told()
        if options.json:
            print(json.dumps(told))
            return 0
        found, outcome = told["report"], told["outcome"]
        many = f"{found['runs']:,} run{'s' * (found['runs'] != 1)} found"
        print(f"{many}, {found['known']:,} of them here already.")
        for sentence in found["left_out"]:
            print(f"Left out: {_cell({'said': sentence}, 'said')}")
        if outcome is None:
            columns = [("name", "name"), ("tracker", "tracker"), ("status", "status")]
            _print(found["found"], False, [*columns, ("series", "series"), ("points", "points")])
        else:
            new, grown, same = outcome["new"], outcome["grown"], outcome["same"]
            print(f"{new:,} new, {grown:,} with something new, {same:,} as they were.")
            if files := outcome.get("files"):
                print(f"{files:,} file{'s' * (files != 1)} beside them.")
        return 0

    return _told(work)


def run(options: argparse.Namespace) -> int:
    def work() -> int:
        import yaml

        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text()
        configuration = yaml.safe_load(text)  # JSON is YAML
        if not isinstance(configuration, dict):
            print("The configuration is no mapping of names to values.", file=sys.stderr)
            return 1
        launched = _project(options).run(configuration)
        address = f"{launched.connection.address}/p/{options.project}/runs/{launched.number}/"
        if not options.watch:
            print(
                json.dumps(launched.told) if options.json else f"{launched} is in line: {address}"
            )
            return 0
        print(f"{launched}: {address}", file=sys.stderr)
        return _watched(launched, options)

    return _told(work)


def runs(options: argparse.Namespace) -> int:
    def work() -> int:
        asked = {"status": options.status, "q": options.search, "filter": options.filter}
        found = []
        for one in _project(options).runs(limit=min(options.limit, 1000), **asked):
            found.append(one.told)
            if len(found) >= options.limit:
                break
        columns = [
            ("number", "run"),
            ("name", "name"),
            ("status", "status"),
            ("progress.fraction", "done"),
            ("metrics.val/accuracy", "val/accuracy"),
        ]
        _print(found, options.json, columns)
        return 0

    return _told(work)


def watch(options: argparse.Namespace) -> int:
    return _told(lambda: _watched(_project(options).find_run(options.number), options))


def cancel(options: argparse.Namespace) -> int:
    def work() -> int:
        found = _project(options).find_run(options.number).cancel()
        print(f"{found} is {found.status}.")
        return 0

    return _told(work)


def download(options: argparse.Namespace) -> int:
    """`run/12`, `tiny@2`, `tiny@production`, or `mails@1` with --dataset."""

    def work() -> int:
        project, reference = _project(options), options.reference
        made: Any
        if reference.startswith("run/"):
            made = project.find_run(int(reference.removeprefix("run/")))
            ending = "zip"
        elif options.dataset:
            made, ending = project.dataset(reference), "parquet"
        else:
            made, ending = project.model(reference), "zip"
        name = str(made).replace("/", "-")
        target = Path(options.output or f"{name}.{ending}")
        with progress.moving(target.name) as moved:
            made.download(target, moved=moved)
        print(target)
        return 0

    return _told(work)


def predict(options: argparse.Namespace) -> int:
    def work() -> int:
        texts = options.text or [line.rstrip("\n") for line in sys.stdin if line.strip()]
        for answer in _project(options).model(options.reference).predict(texts):
            print(json.dumps(answer, ensure_ascii=False))
        return 0

    return _told(work)


# -------------------------------------------------------------------------------------------------


def _project(options: argparse.Namespace) -> Project:
    return Hub(options.hub).project(options.project)


def _watched(found: Any, options: argparse.Namespace) -> int:
    try:
        found.watch()
    except KeyboardInterrupt:
        print(f"\n{found} goes on without you.", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(found.told))
        return 0
    numbers = {name: value for name, value in found.told["metrics"].items() if "test/" in name}
    said = ", ".join(f"{name} {value:.4g}" for name, value in sorted(numbers.items()))
    print(f"{found} finished{': ' + said if said else ''}.")
    if verdict := (found.told.get("comparison") or {}).get("sentence"):
        print(verdict)
    return 0


def _told(work: Any) -> int:
    """What went wrong is a sentence in a terminal."""
    try:
        status: int = work()
    except FAULTS as fault:
        print(fault, file=sys.stderr)
        return 1
    except OSError as fault:
        place = f"{fault.filename}: " if fault.filename else ""
        print(f"{place}{fault.strerror or fault}.", file=sys.stderr)
        return 1
    except ValueError as fault:
        print(f"This is not understood: {fault}", file=sys.stderr)
        return 1
    return status


def _places(splits: dict[str, Any]) -> str:
    return ", ".join(f"{name} {one['rows']:,}" for name, one in splits.items())


def _print(
    rows: Iterable[dict[str, Any]], as_json: bool, columns: Sequence[tuple[str, str]]
) -> None:
    if as_json:
        print(json.dumps(list(rows)))
        return
    cells = [[name for _, name in columns]]
    cells += [[_cell(row, place) for place, _ in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    for line in cells:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def _cell(row: dict[str, Any], place: str) -> str:
    found: Any = row
    for part in place.split(".", 1):
        found = found.get(part) if isinstance(found, dict) else None
    if place == "progress.fraction" and isinstance(found, int | float):
        return f"{100 * found:.0f} %"
    if isinstance(found, float):
        return f"{found:.4g}"
    # A name is anybody's text: a terminal takes no orders from it.
    return "" if found is None else "".join(c if c.isprintable() else "?" for c in str(found))
