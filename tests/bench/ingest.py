"""Rows and megabytes a second of reading a table, and the memory it takes, beside pyarrow and
`datasets` doing the same parse.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install datasets==5.2.0 pyarrow==26.0.1
    python -m tests.bench.ingest --python /tmp/peers/bin/python --mib 300 jsonl csv parquet

Every run is a process of its own, one thread each, so that its peak memory is its own; they take
turns. CPU time is told beside wall time, for machines that do other things, too. What is compared:

ours      the worker's whole job: rows read, compared with each other, divided, counted, written as
          Parquet, fingerprinted, stored; `look` is what the upload page waits for before it
pyarrow   the file parsed into memory and written as Parquet (its reader guesses types by blocks)
datasets  `load_dataset` with an empty cache: parsed, and written as Arrow

Texts are Shakespeare's words, some 60 to 300 in a row beside a label, a number and an object.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent.parent
WORDS = ROOT.parent / "shared" / "data" / "tinyshakespeare" / "input.txt"
KINDS = ("jsonl", "csv", "parquet")
PEERS = ("pyarrow", "datasets")


def written(path: Path, kind: str, mib: int) -> int:
    """Make a file of about `mib` MiB; the number of its rows."""
    import csv

    chance, words = random.Random(0), WORDS.read_text().split()
    size, rows, done = mib << 20, 0, 0
    if kind == "parquet":
        import pyarrow.csv
        import pyarrow.parquet

        rows = written(path.with_suffix(".csv"), "csv", mib)
        table = pyarrow.csv.read_csv(path.with_suffix(".csv"))
        pyarrow.parquet.write_table(table, path, row_group_size=10_000)
        return rows
    with path.open("w", newline="") as out:
        delimited = csv.writer(out)
        if kind == "csv":
            delimited.writerow(["id", "text", "label", "score"])
        while done < size:
            many = chance.randint(60, 300)
            begin = chance.randrange(len(words) - many)
            text, label = " ".join(words[begin : begin + many]), f"class {rows % 20}"
            row: dict[str, Any] = {"id": rows, "text": text, "label": label}
            row["score"] = chance.random()
            if kind == "csv":
                delimited.writerow(row.values())
            else:
                out.write(json.dumps(row | {"meta": {"language": "en", "page": many}}) + "\n")
            done += len(text) + 70
            rows += 1
    return rows


def opened(name: str) -> IO[bytes]:
    return Path(name).open("rb")


def ours(path: Path, folder: Path) -> dict[str, Any]:
    """What the worker does, without its database."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from django.conf import settings

    from projects.ingest import ingestion, making, reading, registry
    from projects.models import Dataset, DatasetVersion

    settings.MEDIA_ROOT, settings.DISTILLHUB_HOME = folder / "files", folder
    with path.open("rb") as handle:
        form = registry.recognise(handle, path.name)
    size = path.stat().st_size
    files = [{"name": path.name, "sha256": str(path), "bytes": size, "split": None}]
    begin = time.perf_counter()
    understood = reading.first(form, files, opened)
    look = time.perf_counter() - begin
    dataset = Dataset(name="bench", task=understood["task"])
    version = DatasetVersion(dataset=dataset, format=form.key, reading=understood)
    source = ingestion.UploadedRows(version, [(files[0], path)])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    made = making.made(source, folder, lambda stage, fraction: None)
    took = time.perf_counter() - wall, time.process_time() - cpu
    return figures(made["rows"], *took) | {"look": look, "before_mb": before >> 10}


def pyarrow(path: Path, folder: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    pa.set_cpu_count(1)
    wall, cpu = time.perf_counter(), time.process_time()
    kind = path.suffix[1:]
    if kind == "jsonl":
        table = pyarrow.json.read_json(path)
    elif kind == "csv":
        table = pyarrow.csv.read_csv(path)
    else:
        table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table, folder / "rows.parquet", compression="zstd")
    return figures(table.num_rows, time.perf_counter() - wall, time.process_time() - cpu)


def datasets(path: Path, folder: Path) -> dict[str, Any]:
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    import datasets as library  # type: ignore[import-not-found]

    kind = {"jsonl": "json"}.get(path.suffix[1:], path.suffix[1:])
    wall, cpu = time.perf_counter(), time.process_time()
    found = library.load_dataset(kind, data_files=str(path), cache_dir=str(folder), split="train")
    return figures(len(found), time.perf_counter() - wall, time.process_time() - cpu)


def figures(rows: int, wall: float, cpu: float) -> dict[str, Any]:
    return {"rows": rows, "wall": wall, "cpu": cpu}


def measured(python: str, who: str, path: Path, mib: int = 0) -> dict[str, Any]:
    """The figures of one run in a process of its own."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "ARROW_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, __file__, "--run", who, str(path), folder, "--mib", str(mib)],
            env=os.environ | threads | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=["jsonl"])
    parser.add_argument("--python", help="of an environment with datasets and pyarrow")
    parser.add_argument("--mib", type=int, default=300)
    parser.add_argument("--run", nargs=3, metavar=("WHO", "PATH", "FOLDER"))
    asked = parser.parse_args()
    if asked.run:
        who, path, folder = asked.run
        if who == "write":
            rows = written(Path(path), Path(path).suffix[1:], asked.mib)
            print(json.dumps({"rows": rows}))
            return
        found = {"ours": ours, "pyarrow": pyarrow, "datasets": datasets}[who](
            Path(path), Path(folder)
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(json.dumps(found | {"peak_mb": peak}))
        return
    print("| file | who | rows/s of wall | MB/s of wall | MB/s of CPU | peak MB | look, s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind in asked.kinds:
            path = Path(folder) / f"rows.{kind}"
            # By another process: the peak of a child begins at what its parent held.
            rows = measured(sys.executable, "write", path, asked.mib)["rows"]
            megabytes = path.stat().st_size / 1e6
            for who in ("ours", *(PEERS if asked.python else ())):
                python = sys.executable if who == "ours" else asked.python
                found = measured(python, who, path)
                assert found["rows"] == rows, (who, found)
                look = f"{found['look']:.1f}" if "look" in found else ""
                print(
                    f"| {kind}, {megabytes:.0f} MB, {rows:,} rows | {who} "
                    f"| {rows / found['wall']:,.0f} | {megabytes / found['wall']:.1f} "
                    f"| {megabytes / found['cpu']:.1f} | {found['peak_mb']:,} | {look} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
