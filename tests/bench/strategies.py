"""Which way to a small model is worth it? Studies of strategies on real data, through REST.

    python -m tests.bench.strategies banking77 --seeds 0 1 2
    python -m tests.bench.strategies table

Run by hand, with OMP_NUM_THREADS=1. A command starts a DistillHub of its own in `--folder`, which
has no other work, and leaves `docs/results/strategies/NAME.json`; `table` prints them as Markdown.

A half of the classes is the task; the other half is what the student learned before, so that its
backbone has something to transfer. Of the task's training rows one half, all labelled, is the
teacher's; of the other half, the student's, each class keeps `few` labels. Validation and test rows
are the task's. The arms are those of a study of strategies (docs/studies.md): they take the same
number of epochs, and one learning rate, but for the head on a frozen backbone, which has its own.
Nothing is searched: rates, temperature and weight are those that tests/bench/results.py found.
"""

import argparse
import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from tests.bench import real_data
from tests.bench.real_data import Places, Rows
from tests.bench.results import DATA, ROOT, soft
from tests.bench.subjects import SMALL_BAG, WORDS

JSON = dict[str, Any]

OUTPUT = ROOT / "docs" / "results" / "strategies"
PATIENCE = 3600.0  # seconds for a study
PRICE = "0.10"  # of an hour of this machine, in whatever currency


@dataclass(frozen=True, slots=True)
class Subject:
    task: str
    few: int  # labels a class
    most: int  # rows a class that are taken of train at all
    teacher: JSON
    student: JSON
    before: JSON  # training of the teacher and, on the other classes, of the student
    training: JSON
    frozen: JSON
    tuned: JSON  # what is other when the teacher is trained on the student's rows
    losses: list[JSON] = field(default_factory=list)


def bag(options: JSON) -> JSON:
    return {"architecture": "bag_of_embeddings", "config": options}


def convnet(kind: str, options: JSON) -> JSON:
    return {"architecture": kind, "config": options}


SUBJECTS = {
    "banking77": Subject(
        task="text-classification", few=5, most=1000,
        teacher=bag(WORDS), student=bag(SMALL_BAG),
        before={"epochs": 20, "learning_rate": 1e-3},
        training={"epochs": 30, "learning_rate": 1e-3}, frozen={"learning_rate": 1e-2},
        tuned={"epochs": 5, "learning_rate": 2e-4}, losses=soft(4.0, 0.9),
    ),
    "fashion_mnist": Subject(
        task="image-classification", few=10, most=600,
        teacher=convnet("small_convnet", {"channels": [32, 64], "hidden": 128, "dropout": 0.5}),
        student=convnet("small_convnet", {"channels": [8, 16, 19], "hidden": 0, "dropout": 0.0}),
        before={"epochs": 8, "learning_rate": 1e-3},
        training={"epochs": 20, "learning_rate": 1e-2}, frozen={"learning_rate": 2e-2},
        tuned={"epochs": 4, "learning_rate": 3e-4}, losses=soft(2.0, 0.9),
    ),
    "fsdd": Subject(
        task="audio-classification", few=6, most=1000,
        teacher=convnet("spectrogram_convnet", {"channels": [24, 48, 60]}),
        student=convnet("spectrogram_convnet", {"channels": [8, 16, 16], "dropout": 0.0}),
        before={"epochs": 40, "learning_rate": 3e-3, "augmentation": "strong"},
        training={"epochs": 60, "learning_rate": 1e-2}, frozen={"learning_rate": 2e-2},
        tuned={"epochs": 10, "learning_rate": 5e-4}, losses=soft(2.0, 0.9),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """An upload: places of rows by split, and those whose label is kept back."""

    splits: dict[str, Places]
    hidden: Places


def parts(rows: Rows, subject: Subject) -> dict[str, Part]:
    """What the student learned before, what its teacher did, and what both meet now."""
    names = rows.names
    task = np.isin(rows.labels, names[::2])  # every other class: neighbours by name are alike
    cut = real_data.cut(rows, 0.1, apart=True)
    nothing = np.array([], dtype=np.int64)

    def of(places: Places, kinds: Any) -> Places:
        chance = np.random.default_rng(5)
        some = places[kinds[places]]
        taken = [
            chance.permutation(some[rows.labels[some] == name])[: subject.most // 2]
            for name in names
        ]
        return np.sort(np.concatenate(taken))

    def splits(train: Places, kinds: Any) -> dict[str, Places]:
        validation, test = cut.validation[kinds[cut.validation]], cut.test[kinds[cut.test]]
        return {"train": train, "validation": validation, "test": test}

    both = np.union1d(cut.teacher, cut.student)
    mine = of(cut.student, task)
    chance = np.random.default_rng(177)
    known = np.concatenate(
        [
            chance.permutation(mine[rows.labels[mine] == name])[: subject.few]
            for name in np.unique(rows.labels[mine])
        ]
    )
    return {
        "before": Part(splits(of(both, ~task), ~task), nothing),
        "teachers": Part(splits(of(cut.teacher, task), task), nothing),
        "few": Part(splits(mine, task), np.setdiff1d(mine, known)),
    }


def packed(rows: Rows, part: Part) -> tuple[str, bytes]:
    """A file to upload: a table of texts, or an archive with a table."""
    hidden = set(part.hidden.tolist())
    told = [
        (at, "" if at in hidden else str(rows.labels[at]), split)
        for split, places in part.splits.items()
        for at in places.tolist()
    ]
    out = io.StringIO()
    if rows.column == "text":
        csv.writer(out).writerows(
            [("text", "label", "split"), *((rows.inputs[at], label, s) for at, label, s in told)]
        )
        return "rows.csv", out.getvalue().encode()
    ending = "png" if rows.column == "image" else "wav"
    csv.writer(out).writerows(
        [("file_name", "label", "split"), *((f"{at}.{ending}", label, s) for at, label, s in told)]
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.csv", out.getvalue())
        for at, _, _ in told:
            archive.writestr(f"{at}.{ending}", rows.inputs[at])
    return "rows.zip", file.getvalue()


# -- the product ----------------------------------------------------------------------------------


class Product:
    """One that runs, and a program that talks to it."""

    def __init__(self, address: str, token: str) -> None:
        self.client = httpx2.Client(
            base_url=f"{address}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=120
        )

    def post(self, path: str, **sent: Any) -> JSON:
        answer = self.client.post(path, **sent)
        assert answer.status_code == 201, answer.text
        made: JSON = answer.json()
        return made

    def settled(self, path: str) -> JSON:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            body: JSON = self.client.get(path).json()
            if body["status"] in ("ready", "finished"):
                return body
            assert body["status"] not in ("failed", "cancelled"), body
            time.sleep(1.0)
        raise AssertionError(f"{path} is not done")

    def upload(self, at: str, name: str, task: str, file: tuple[str, bytes]) -> JSON:
        sent = {"name": name, "task": task}
        self.post(f"{at}datasets/", data=sent, files={"file": file})
        return self.settled(f"{at}datasets/{name}/versions/1/")

    def register(self, at: str, name: str, role: str, task: str, source: JSON) -> None:
        asked = {"name": name, "role": role, "task": task}
        self.post(f"{at}models/", json={**asked, "source": {"kind": "architecture", **source}})
        self.settled(f"{at}models/{name}/versions/1/")


@contextlib.contextmanager
def product(home: Path, port: int) -> Iterator[Product]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO")}
    told = {"DISTILLHUB_RUN_THREADS": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    environment = kept | told | {"DISTILLHUB_PRICE_PER_HOUR": PRICE}
    command = [sys.executable, "-m", "distillhub.cli"]
    home.mkdir(parents=True, exist_ok=True)
    log = home / "up.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "up", "--home", str(home), "--port", str(port), "--no-demo"],
            cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        address, until = None, time.monotonic() + 120
        while address is None and time.monotonic() < until and process.poll() is None:
            address = re.search(r"Address\s+(http://\S+)", log.read_text())
            time.sleep(0.2)
        assert address is not None, log.read_text()
        token = subprocess.run(
            [*command, "create-token", "robot", "--create", "--home", str(home)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
        ).stdout.strip().splitlines()[-1]  # fmt: skip
        yield Product(address[1], token)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def study(one: Product, name: str, subject: Subject, seeds: Sequence[int]) -> JSON:
    """Everything from the upload to the conclusion."""
    rows = real_data.DATA[name](DATA)
    slug = one.post("projects/", json={"name": f"{name} {int(time.time())}"})["slug"]
    at = f"projects/{slug}/"
    uploads = parts(rows, subject)
    for key, part in uploads.items():
        told = one.upload(at, key, subject.task, packed(rows, part))
        say(f"{key}: {told['rows']} rows, {len(told['labels'])} labels")
    for role in ("teacher", "student"):
        one.register(at, role, role, subject.task, getattr(subject, role))
    usual = {"task": subject.task, "control": False}
    for role, dataset in (("teacher", "teachers"), ("student", "before")):
        asked = {"student": f"{role}@1", "dataset": f"{dataset}@1", "training": subject.before}
        number = one.post(f"{at}runs/", json={**usual, **asked})["number"]
        ran = one.settled(f"{at}runs/{number}/")
        say(f"{role} alone: {ran['summary']['student']['accuracy']:.4f} of its own test rows")
    base = {
        "task": subject.task, "dataset": "few@1", "student": "student@2",
        "teachers": ["teacher@2"], "losses": subject.losses, "training": subject.training,
    }  # fmt: skip
    began = time.monotonic()
    wanted = {
        "kind": "strategies", "name": name, "base": base, "seeds": list(seeds),
        "teacher_training": subject.tuned, "frozen_training": subject.frozen,
    }  # fmt: skip
    number = one.post(f"{at}studies/", json=wanted)["number"]
    found = one.settled(f"{at}studies/{number}/")
    first = one.client.get(f"{at}runs/{found['runs'][1]}/").json()
    train = uploads["few"].splits["train"]
    return {
        "name": name,
        "command": f"python -m tests.bench.strategies {name} --seeds {' '.join(map(str, seeds))}",
        "rows": len(train),
        "labelled": len(train) - len(uploads["few"].hidden),
        "test_rows": len(uploads["few"].splits["test"]),
        "classes": len(set(rows.labels[train].tolist())),
        "teacher": first["summary"]["teacher"]["accuracy"] if first["summary"]["teacher"] else None,
        "minutes": round((time.monotonic() - began) / 60, 1),
        **{key: found[key] for key in ("asked", "table", "comparisons", "verdict", "conclusion")},
    }


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


# -- the tables ------------------------------------------------------------------------------------


def table() -> str:
    return "\n\n".join(
        _table(json.loads(path.read_text())) for path in sorted(OUTPUT.glob("*.json"))
    )


def _table(said: JSON) -> str:
    known = {(one["arm"], one["against"]): one for one in said["comparisons"]}
    lines = [
        f"**{said['name']}**: {said['classes']} classes, {said['labelled']} labels of "
        f"{said['rows']} training rows, {said['test_rows']} test rows.",
        "",
        "| way | validation | test | beyond labels alone | seconds | Wh | money |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in said["table"]:
        one, cost = known.get((arm["arm"], "control")), arm["cost"]
        beyond = ""
        if one is not None:
            low, high = (100 * edge for edge in one["interval"])
            answer = one["answer"].replace("_", " ")
            beyond = f"{100 * one['difference']:+.1f} ({low:+.1f} to {high:+.1f}) **{answer}**"
        spread = "" if arm["deviation"] is None else f" ± {100 * arm['deviation']:.1f}"
        lines.append(
            f"| {arm['label']} | {100 * arm['validation']:.1f} | {100 * arm['score']:.1f}{spread} "
            f"| {beyond} | {cost['seconds']:.1f} | {cost['energy_wh']:.3f} | {cost['cost']:.5f} |"
        )
    return "\n".join([*lines, "", "> " + " ".join(said["conclusion"]["sentences"])])


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("subject", choices=[*SUBJECTS, "table"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("/tmp/distillhub-strategies"))
    parser.add_argument("--port", type=int, default=8790)
    asked = parser.parse_args(arguments)
    if asked.subject == "table":
        print(table())
        return
    with product(asked.folder / "home", asked.port) as one:
        found = study(one, asked.subject, SUBJECTS[asked.subject], asked.seeds)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / f"{asked.subject}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(_table(found))


if __name__ == "__main__":
    main(sys.argv[1:])
