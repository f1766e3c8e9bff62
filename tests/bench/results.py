"""Does a teacher help on real data? A table of it, made by the engine itself.

    python -m tests.bench.results banking77 --per-class 20 --seeds 0 1 2 3 4
    python -m tests.bench.results banking77 --per-class 20 --unlabelled
    python -m tests.bench.results fsdd --speaker george --unlabelled
    python -m tests.bench.results table

Run by hand, with OMP_NUM_THREADS=1; each command writes `docs/results/NAME.json`, and `table`
prints them all as Markdown. Models and datasets lie in `--folder`, where teachers are found again.

The rules. A teacher is trained once, on all training rows, or with `--other-rows` on another half
than the student's. The arms differ in their labels and terms only, and take the same number of
steps:

    control      hard labels on the labelled rows
    distilled    the teacher's soft targets and hard labels, on the same rows
                 or, with `--unlabelled`, on all training rows
    pseudo       hard labels, which the teacher's argmax gives to rows without a label
                 (with `--unlabelled` only)

Everything is chosen on validation rows, with one or two seeds that no reported run has: the
learning rate for the control alone, then temperature and weight for the distilled arm at that rate.
The other arms take them over. The test is scored once per reported run. Labelled rows, weights and
order come from the seed; teacher and splits are the same for all seeds.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tests.bench import real_data
from tests.bench.real_data import Cut, Places, Rows
from tests.bench.subjects import ALL_ROWS, CHARACTERS, PLAIN, SAME_ROWS, SUBJECTS, Model, Setting
from tests.engine import jobs
from training.engine import data, evaluate, networks, paired
from training.engine.events import Finished, Measured
from training.engine.networks import Place

JSON = dict[str, Any]
Values = NDArray[np.float64]

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = ROOT.parent / "shared" / "data"
RESAMPLES = 10_000
EPOCH = 20  # steps at least: smaller training sets stand in their file several times
# Student-t's 97.5 % quantile by degrees of freedom
T_QUANTILE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 9: 2.262}


@dataclass(slots=True)
class Ran:
    """What one job came to."""

    validation: float
    seconds: float
    parameters: int
    test: float = float("nan")
    teacher: float = float("nan")
    values: Values | None = None  # [test rows], in the order of their ids: 1 where right, else 0

    def keep(self, path: Path) -> None:
        """So that a command that was interrupted goes on where it was."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.values is not None:
            np.save(path.with_suffix(".npy"), self.values)
        told = {name: getattr(self, name) for name in TOLD}
        path.with_suffix(".json").write_text(json.dumps(told))

    @classmethod
    def kept(cls, path: Path) -> "Ran":
        ran = cls(**json.loads(path.with_suffix(".json").read_text()))
        if path.with_suffix(".npy").exists():
            ran.values = np.load(path.with_suffix(".npy"))
        return ran


TOLD = ("validation", "seconds", "parameters", "test", "teacher")


class Bench:
    """One setting: its files, its teachers, its arms."""

    def __init__(self, setting: Setting, folder: Path, rates: Sequence[float] = ()) -> None:
        self.setting, self.subject = setting, SUBJECTS[setting.subject]
        self.rates = tuple(rates) or self.subject.rates
        self.rows: Rows = real_data.DATA[self.subject.data or setting.subject](DATA)
        self.cut: Cut = real_data.cut(self.rows, self.subject.validation, apart=setting.other_rows)
        self.home = folder / f"{setting.subject}-{'other' if setting.other_rows else 'all'}"
        self.work = folder / setting.name
        self.files: dict[tuple[str, int], JSON] = {}
        self.teachers: list[str] = []
        self.teacher_seconds = 0.0
        self.runs = 0

    # -- teachers --------------------------------------------------------------------------------

    def train_teachers(self) -> None:
        """Once for all settings that share rows; their summary stays beside them."""
        dataset = self._file("teacher", self.cut.teacher, self.cut.teacher[:0])
        for place, model in enumerate(self.subject.teachers):
            home = self.home / f"teacher-{place}"
            asked = json.dumps([model.architecture, model.options, model.training, dataset])
            if not (home / "asked.json").exists() or (home / "asked.json").read_text() != asked:
                shutil.rmtree(home, ignore_errors=True)
                ran = self.run(home, dataset, model, {**PLAIN, **model.training, "seed": place})
                (home / "asked.json").write_text(asked)
                told = {"test": ran.test, "seconds": ran.seconds, "parameters": ran.parameters}
                (home / "told.json").write_text(json.dumps(told))
            told = json.loads((home / "told.json").read_text())
            say(f"teacher {place + 1}: test {told['test']:.4f}, {told['parameters']:,} weights")
            self.teacher_seconds += told["seconds"]
            self.teachers.append(str(home / "output" / "model"))

    def teacher_says(self, dataset: JSON) -> dict[int, str]:
        """The teachers' argmax, by row id, for every training row of a file."""
        opened = data.open_dataset(Path("/"), _described(dataset))
        rows, place = opened.splits["train"], Place.choose("float32")
        shares = np.zeros((len(rows), len(opened.names)))
        for number, path in enumerate(self.teachers):
            network = networks.load("teacher", Path(path), self.subject.task)
            inputs = network.preprocessing.prepare(opened.path, self.work / f"prepared-{number}")
            logits = evaluate.predict(network, inputs, rows, place)
            logits = logits[:, networks.columns(network, opened.names)]
            shares += np.exp(evaluate.log_probabilities(logits))
        said = shares.argmax(axis=1)
        ids = opened.row_ids[rows].tolist()
        return {at: opened.names[one] for at, one in zip(ids, said.tolist(), strict=True)}

    # -- files -----------------------------------------------------------------------------------

    def labelled(self, seed: int) -> Places:
        setting, every = self.setting, self.cut.student
        if setting.per_class is not None:
            return real_data.few(self.rows, every, seed, setting.per_class)
        if setting.speaker is not None:
            return real_data.of_group(self.rows, every, setting.speaker)
        if setting.characters is not None:
            return every[: setting.characters // real_data.PIECE]
        return every

    def dataset(self, kind: str, seed: int) -> JSON:
        """`plain`: the rows the student sees; `pseudo`: with the teacher's argmax as labels."""
        if (kind, seed) not in self.files:
            known = self.labelled(seed)
            seen = self.cut.student if self.setting.unlabelled else known
            hidden = np.setdiff1d(seen, known)
            said: dict[int, str] = {}
            if kind == "pseudo":
                told = self.teacher_says(self.dataset("plain", seed))
                said = {at: told[at] for at in hidden.tolist()}
            seen = np.tile(seen, self.times(len(seen)))
            self.files[kind, seed] = self._file(f"{kind}-{seed}", seen, hidden, said)
        return self.files[kind, seed]

    @property
    def batch(self) -> int:
        return int({**PLAIN, **self.subject.student.training}["batch_size"])

    def times(self, rows: int) -> int:
        """How often each row stands in a file: validation is no large part of a run's work."""
        if self.rows.running:
            return 1
        return -(-EPOCH * self.batch // rows) if rows < EPOCH * self.batch else 1

    def _file(
        self, name: str, train: Places, hidden: Places, said: dict[int, str] | None = None
    ) -> JSON:
        splits = {"train": train, "validation": self.cut.validation, "test": self.cut.test}
        home = self.home if name == "teacher" else self.work
        return real_data.write(home / f"{name}.parquet", self.rows, splits, hidden, said or {})

    # -- runs ------------------------------------------------------------------------------------

    def run(
        self,
        folder: Path,
        dataset: JSON,
        model: Model,
        training: JSON,
        *,
        losses: list[JSON] | None = None,
        teachers: list[str] | None = None,
        test: bool = True,
    ) -> Ran:
        jobs.write(
            folder, dataset, task=self.subject.task, architecture=model.architecture,
            options=model.options, teachers=teachers, losses=losses, training=training,
            evaluate=test, teacher_outputs={"mode": "auto", "store": str(self.home / "store")},
        )  # fmt: skip
        began = time.process_time()
        summary, teacher = {}, float("nan")
        for event in jobs.run(folder):
            if isinstance(event, Measured):
                teacher = event.values.get(f"teacher/test/{self.subject.metric}", teacher)
            if isinstance(event, Finished):
                summary = event.summary
        seconds = time.process_time() - began
        weights = _parameters(folder)
        ran = Ran(summary["best_value"], seconds, weights, teacher=teacher)
        if test:
            table = pq.read_table(folder / "output" / "predictions.parquet")
            order = np.argsort(table["row_id"].to_numpy())
            ran.values = table["student_value"].to_numpy()[order]
            ran.test = float(ran.values.mean())
        return ran

    def student(
        self, arm: str, seed: int, rate: float, losses: list[JSON] | None, *, test: bool
    ) -> Ran:
        """One run of an arm for the setting's number of steps."""
        dataset = self.dataset("pseudo" if arm == "pseudo" else "plain", seed)
        self.runs += 1
        folder = self.work / f"run-{self.runs}"
        shutil.rmtree(folder, ignore_errors=True)
        rows = len(self.cut.student if self.setting.unlabelled else self.labelled(seed))
        rows *= self.times(rows)
        if self.rows.running:  # windows, which neither begin nor end with a piece
            rows = -(-rows * real_data.PIECE // CHARACTERS["max_length"])
        epochs = max(1, round(self.setting.steps / -(-rows // self.batch)))
        training = {**PLAIN, **self.subject.student.training}
        training |= {"epochs": epochs, "learning_rate": rate, "seed": seed}
        training["selection_metric"] = f"val/{self.subject.metric}"
        taught = self.teachers if losses else None
        asked = json.dumps([dataset, training, losses, taught, test, self.subject.student.options])
        kept = self.work / "told" / hashlib.sha256(asked.encode()).hexdigest()[:24]
        if not kept.with_suffix(".json").exists():
            ran = self.run(
                folder, dataset, self.subject.student, training,
                losses=losses, teachers=taught, test=test,
            )  # fmt: skip
            shutil.rmtree(folder)
            ran.keep(kept)
        return Ran.kept(kept)

    # -- selection, on validation rows -----------------------------------------------------------

    def choose(self) -> JSON:
        """Learning rate for the control, then temperature and weight for the distilled arm."""
        tried: JSON = {"rates": {}, "soft": {}}
        for rate in self.rates:
            tried["rates"][f"{rate:g}"] = self._validation("control", rate, None)
        best = min if self.subject.falls else max
        rate = float(best(tried["rates"], key=tried["rates"].__getitem__))
        usual = ALL_ROWS if self.setting.unlabelled else SAME_ROWS
        for temperature in self.subject.temperatures or usual[0]:
            for weight in self.subject.weights or usual[1]:
                key = f"{temperature:g} {weight:g}"
                losses = soft(temperature, weight)
                tried["soft"][key] = self._validation("distilled", rate, losses)
        temperature, weight = map(float, best(tried["soft"], key=tried["soft"].get).split())
        return {"rate": rate, "temperature": temperature, "weight": weight, "tried": tried}

    def _validation(self, arm: str, rate: float, losses: list[JSON] | None) -> float:
        seeds = self.subject.tuning_seeds
        found = [self.student(arm, seed, rate, losses, test=False).validation for seed in seeds]
        shown = "" if losses is None else f" {_shown(losses)}"
        say(f"validation of {arm}, rate {rate:g}{shown}: {mean(found):.4f}")
        return round(mean(found), 5)

    # -- the table's row -------------------------------------------------------------------------

    def compare(self, seeds: Sequence[int]) -> JSON:
        began = time.process_time()
        chosen = self.choose()
        tuning = time.process_time() - began
        losses = soft(chosen["temperature"], chosen["weight"])
        arms = {"control": None, "distilled": losses}
        if self.setting.unlabelled:
            arms["pseudo"] = None
        ran: dict[str, list[Ran]] = {arm: [] for arm in arms}
        for seed in seeds:
            for arm, terms in arms.items():
                ran[arm].append(self.student(arm, seed, chosen["rate"], terms, test=True))
                say(f"seed {seed}, {arm}: test {ran[arm][-1].test:.4f}")
        return self._written(seeds, chosen, ran, tuning)

    def _written(
        self, seeds: Sequence[int], chosen: JSON, ran: dict[str, list[Ran]], tuning: float
    ) -> JSON:
        pairs = [("distilled", "control")]
        if "pseudo" in ran:
            pairs += [("pseudo", "control"), ("distilled", "pseudo")]
        given = [json.loads((self.home / f"teacher-{i}" / "told.json").read_text())
                 for i in range(len(self.teachers))]  # fmt: skip
        return {
            "setting": self.setting.name,
            "command": self.setting.command + " --seeds " + " ".join(map(str, seeds)),
            "task": self.subject.task,
            "metric": self.subject.metric,
            "labelled": len(self.labelled(seeds[0])),
            "seen": len(self.cut.student if self.setting.unlabelled else self.labelled(seeds[0])),
            "validation_rows": len(self.cut.validation),
            "test_rows": len(self.cut.test),
            "seeds": list(seeds),
            "teacher": {
                "test": round(ran["distilled"][0].teacher, 5),
                "parameters": sum(one["parameters"] for one in given),
                "seconds": round(self.teacher_seconds, 1),
            },
            "student": {"parameters": ran["control"][0].parameters},
            "chosen": chosen,
            "tuning_seconds": round(tuning, 1),
            "arms": {
                arm: {
                    "test": [round(one.test, 5) for one in every],
                    "validation": [round(one.validation, 5) for one in every],
                    "seconds": round(mean(one.seconds for one in every), 2),
                }
                for arm, every in ran.items()
            },
            "differences": {
                f"{left} - {right}": difference(ran[left], ran[right], falls=self.subject.falls)
                for left, right in pairs
            },
        }


def difference(ours: list[Ran], theirs: list[Ran], *, falls: bool) -> JSON:
    """Of the test's metric, seed by seed. `over_seeds`: Student's t interval of the mean, as seeds
    vary; `over_rows`: paired bootstrap of the mean over these seeds, as test rows vary."""
    each = [one.test - other.test for one, other in zip(ours, theirs, strict=True)]
    by_row = np.mean(
        [
            np.asarray(one.values) - np.asarray(other.values)
            for one, other in zip(ours, theirs, strict=True)
        ],
        axis=0,
    )
    chance = np.random.default_rng(0)
    means = [by_row[chance.integers(0, len(by_row), len(by_row))].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    half = T_QUANTILE[len(each) - 1] * stdev(each) / len(each) ** 0.5 if len(each) > 1 else np.inf
    middle = mean(each)
    inside = (min(low, middle - half), max(high, middle + half))
    up, down = ("hurt", "helped") if falls else ("helped", "hurt")
    verdict = up if inside[0] > 0 else down if inside[1] < 0 else "no evidence"
    return {
        "mean": round(middle, 5),
        "each": [round(one, 5) for one in each],
        "over_seeds": [round(middle - half, 5), round(middle + half, 5)],
        "over_rows": [round(float(low), 5), round(float(high), 5)],
        "verdict": verdict,
        "verdicts_of_the_product": [
            _product(one, other, falls) for one, other in zip(ours, theirs, strict=True)
        ],
    }


def _product(ours: Ran, theirs: Ran, falls: bool) -> str:
    """What a run's page would say of this pair of runs."""
    assert ours.values is not None
    assert theirs.values is not None
    return str(paired.differences(ours.values, theirs.values, falls=falls)["answer"])


def soft(temperature: float, weight: float) -> list[JSON]:
    losses: list[JSON] = [{"kind": "soft_targets", "weight": weight, "temperature": temperature}]
    if weight < 1:
        losses.append({"kind": "hard_labels", "weight": round(1 - weight, 4)})
    return losses


def _shown(losses: list[JSON]) -> str:
    return f"T {losses[0]['temperature']:g}, weight {losses[0]['weight']:g}"


def _described(dataset: JSON) -> Any:
    from training.engine.job_config import DatasetInput

    return DatasetInput(**{**dataset, "labels": tuple(dataset["labels"])})


def _parameters(folder: Path) -> int:
    said = json.loads((folder / "output" / "model" / "distillhub.json").read_text())
    return int(said["parameters"])


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


# -- the command -----------------------------------------------------------------------------------


def table(home: Path) -> str:
    """Every result as Markdown: means over seeds, plus and minus the deviation between them."""
    found = [json.loads(path.read_text()) for path in sorted(home.glob("*.json"))]
    lines = [
        "| setting | labels / rows | teacher | control | distilled | difference: over seeds; over "
        "rows | pseudo-labels | beyond them | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for said in found:
        factor, places = (1, 3) if said["metric"] == "bits_per_character" else (100, 1)

        def shown(values: list[float], by: float = factor, to: int = places) -> str:
            return f"{mean(values) * by:.{to}f} ± {stdev(values) * by:.{to}f}"

        def apart(key: str, said: JSON = said, by: float = factor, to: int = places) -> str:
            one = said["differences"].get(key)
            if one is None:
                return ""
            spans = "; ".join(
                f"{one[name][0] * by:+.{to}f} to {one[name][1] * by:+.{to}f}"
                for name in ("over_seeds", "over_rows")
            )
            return f"{one['mean'] * by:+.{to}f} ({spans}): **{one['verdict']}**"

        arms, chosen = said["arms"], said["chosen"]
        pseudo = shown(arms["pseudo"]["test"]) if "pseudo" in arms else ""
        softness = f"T {chosen['temperature']:g}, weight {chosen['weight']:g}"
        cells = [
            said["setting"],
            f"{said['labelled']:,} / {said['seen']:,}".replace(",", " "),
            f"{said['teacher']['test'] * factor:.{places}f}",
            shown(arms["control"]["test"]),
            f"{shown(arms['distilled']['test'])} ({softness})",
            apart("distilled - control"),
            pseudo,
            apart("distilled - pseudo"),
            f"{arms['control']['seconds']:.1f}, {arms['distilled']['seconds']:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("subject", choices=[*SUBJECTS, "table"])
    parser.add_argument("--per-class", type=int)
    parser.add_argument("--speaker")
    parser.add_argument("--characters", type=int)
    parser.add_argument("--unlabelled", action="store_true")
    parser.add_argument("--other-rows", action="store_true")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--rates", type=float, nargs="+", default=())
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("/tmp/distillhub-results"))
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results")
    asked = parser.parse_args(arguments)
    if asked.subject == "table":
        print(table(asked.output))
        return
    keep_memory()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    setting = Setting(
        asked.subject, asked.per_class, asked.speaker, asked.characters, asked.unlabelled,
        asked.other_rows, asked.steps,
    )  # fmt: skip
    bench = Bench(setting, asked.folder, asked.rates)
    bench.train_teachers()
    found = bench.compare(asked.seeds)
    asked.output.mkdir(parents=True, exist_ok=True)
    (asked.output / f"{setting.name}.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({k: found[k] for k in ("teacher", "chosen", "arms", "differences")}, indent=1))


def keep_memory() -> None:
    """As a worker's child has it: freed memory is kept. Begins this process anew, once."""
    if "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        kept = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
        os.environ.update(kept | {"MALLOC_TOP_PAD_": str(64 << 20)})
        os.execv(sys.executable, [sys.executable, "-m", "tests.bench.results", *sys.argv[1:]])


if __name__ == "__main__":
    main(sys.argv[1:])
