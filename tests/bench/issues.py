"""What looking for issues costs: a worker's whole job with all checks, with each one alone, and
with none, each in a process of its own.

    python -m tests.bench.issues                         10 003 questions of banking77
    python -m tests.bench.issues --rows 1000000 --only   a million made-up texts, all and none

CPU time is told, for machines that do other things, too: of the first dataset of a process, which
also imports what it needs and reads the model of languages, and of the second.
"""

import argparse
import csv
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.ingest import opened

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = ROOT.parent / "shared" / "data"
NONE, ALL = "none", "all"
MOST_TWICE = 100_000  # rows


def made_up(path: Path, rows: int) -> None:
    """Texts of 5 to 20 words; every twentieth is the one before with a word more."""
    chance = random.Random(0)
    words = (SHARED / "tinyshakespeare" / "input.txt").read_text().split()
    text = "nothing yet"
    with path.open("w", newline="") as out:
        table = csv.writer(out)
        table.writerow(["text", "label"])
        for row in range(rows):
            if row % 20:
                many = chance.randint(5, 20)
                begin = chance.randrange(len(words) - many)
                text = " ".join(words[begin : begin + many])
            else:
                text += " indeed"
            table.writerow([text, f"class {row % 20}"])


def run(path: Path, folder: Path, which: str) -> dict[str, Any]:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.conf import settings

    from projects.ingest import ingestion, making, reading, registry
    from projects.ingest.checks import registry as checks
    from projects.models import Dataset, DatasetVersion

    settings.MEDIA_ROOT, settings.DISTILLHUB_HOME = folder / "files", folder
    found = checks.checks()
    for key in list(found):
        if which not in (ALL, key):
            checks._checks.pop(key)
    with path.open("rb") as handle:
        form = registry.recognise(handle, path.name)
    size = path.stat().st_size
    files = [{"name": path.name, "sha256": str(path), "bytes": size, "split": None}]
    understood = reading.first(form, files, opened)
    dataset = Dataset(name="bench", task=understood["task"])
    version = DatasetVersion(dataset=dataset, format=form.key, reading=understood)
    took = []
    for turn in ("first", "again"):
        (folder / turn).mkdir()
        source = ingestion.UploadedRows(version, [(files[0], path)])
        begin = time.process_time()
        made = making.made(source, folder / turn, lambda stage, fraction: None)
        took.append(time.process_time() - begin)
        if made["rows"] > MOST_TWICE:
            break
    issues = {one["code"]: one["count"] for one in made["issues"]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return {"rows": made["rows"], "cpu": took, "peak": peak, "issues": issues}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--only", action="store_true", help="all checks and none, not each")
    parser.add_argument("--run", nargs=3, metavar=("PATH", "FOLDER", "CHECK"))
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    if asked.run:
        path, folder, which = asked.run
        print(json.dumps(run(Path(path), Path(folder), which)))
        return
    if asked.write:
        made_up(asked.write, asked.rows)
        return
    keys = ["balance", "near", "personal", "unusual_length", "languages", "label_errors"]
    print("| checks | rows | CPU, s: first, again | peak MB | found |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        path = SHARED / "banking77" / "train.csv"
        if asked.rows:
            path = Path(place) / "rows.csv"
            _python("--write", str(path), "--rows", str(asked.rows))
        for which in (NONE, *([] if asked.only else keys), ALL):
            with tempfile.TemporaryDirectory() as folder:
                said = json.loads(_python("--run", str(path), folder, which).splitlines()[-1])
            found = ", ".join(f"{code} {many:,}" for code, many in said["issues"].items())
            print(
                f"| {which} | {said['rows']:,} | {', '.join(f'{one:.2f}' for one in said['cpu'])} "
                f"| {said['peak']:,} | {found} |",
                flush=True,
            )


def _python(*arguments: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
