"""Champion and challenger on old and on new rows, and the gate between them.

Old rows: both were tested on them when they were trained, and left their answers. New rows: the
challenger was tested on them by its run; the champion is asked now, by a process of the engine. The
arithmetic is engine/paired.py's: a paired bootstrap, and McNemar's test where rows are right or
wrong.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distillhub.lib import leases, storage
from distillhub.lib.errors import DomainError
from distillhub.lib.later import Later, np
from distillhub.lib.leases import GivenBack
from distillhub.templatetags import ui
from projects.ingest.formats import MULTI, REGRESSION, TEST, TOKENS_TASK
from projects.models import DatasetVersion, ModelVersion
from training.models import Retraining, Run
from training.operations import live, live_rows
from training.retraining import beginning, collecting, steps
from training.retraining.collecting import Stopped
from training.retraining.steps import Status
from training.services import promotion, retraining_policy
from training.worker import challenge, comparison, folders, teacher_children
from training.worker.challenge import Untold
from training.worker.comparison import Measure

paired, pq = Later("training.engine.paired"), Later("pyarrow.parquet")

JSON = dict[str, Any]
FEW = 20  # rows, under which a difference says too little
MOST_UNKNOWN = 0.05  # of live rows with a label that may be of classes the dataset does not know


def judge(retraining: Retraining) -> None:
    """Hold them against each other; then a person decides, or the gate alone. Raises Stopped,
    GivenBack, and storage.Away."""
    judgement = judged(retraining)
    with steps.locked(retraining, Status.JUDGING) as row:
        steps.write(row, Status.DECIDING, judgement["sentence"], judgement=judgement)


def judged(retraining: Retraining) -> JSON:
    """The judgement, as JSON: docs/monitoring.md tells of it."""
    run, champion = retraining.run, retraining.champion
    challenger, version = retraining.challenger, retraining.dataset_version
    if run is None or champion is None or challenger is None or version is None:
        raise Stopped("gone", "A run, model or dataset of this retraining was deleted.")
    origin = beginning.run_of(champion)
    if origin is None:
        raise Stopped("gone", f"The run that trained {champion.reference} was deleted.")
    measure = comparison.measure_of(run)
    old = _old(run, origin, measure, champion)
    new = _new(retraining, run, measure, champion, version)
    gate = [
        _kept(old, measure, champion, retraining.policy),
        _gained(new, measure, champion, retraining.policy),
        *_classes(retraining),
    ]
    alias = retraining_policy.alias_of(retraining.monitor, retraining.policy)
    rules, checks = _rules(challenger, alias)
    passed = all(one["passed"] for one in gate) and all(one["passed"] for one in checks)
    return {
        "champion": champion.reference,
        "challenger": challenger.reference,
        "run": run.number,
        "metric": measure.metric,
        "unit": measure.unit,
        "falls": measure.falls,
        "old": old,
        "new": new,
        "gate": gate,
        "alias": {"name": alias, "sentence": rules, "checks": checks},
        "passed": passed,
        "sentence": _sentence(gate, rules, checks, challenger, champion),
    }


# -- old rows -------------------------------------------------------------------------------------


def _old(run: Run, origin: Run, measure: Measure, champion: ModelVersion) -> JSON:
    try:
        found = challenge.between(run, origin).whole()
    except Untold as why:
        return {"rows": 0, "sentence": f"It cannot be held against {champion.reference}: {why}"}
    except storage.Damaged:
        said = "A file with answers to test rows is missing from storage."
        return {"rows": 0, "sentence": said}
    return _told(found, measure, champion, "old test rows")


# -- new rows -------------------------------------------------------------------------------------


def _new(
    retraining: Retraining,
    run: Run,
    measure: Measure,
    champion: ModelVersion,
    version: DatasetVersion,
) -> JSON:
    truths, by = _live_test(version, retraining.number)
    worth = comparison.worth_of(run)
    if worth is None or not truths:
        return {"rows": 0, "sentence": "No live test row has a label, so nothing can be said."}
    rows = sorted(worth.rows.keys() & truths.keys())
    said = _answers(retraining, champion, version, rows)
    pairs = [
        (worth.rows[row], value)
        for row in rows
        if (value := _worth(said.get(row), truths[row], version)) is not None
    ]
    if not pairs:
        return {"rows": 0, "sentence": f"{champion.reference} answered no live test row."}
    ours, theirs = (np.array(one, dtype=np.float64) for one in zip(*pairs, strict=True))
    found = paired.differences(ours, theirs, falls=measure.falls)
    true = sum(by[row] == live_rows.TRUE for row in rows)
    told = _told(found, measure, champion, "live test rows")
    return told | {"true_labels": true, "teacher_labels": len(rows) - true}


def _live_test(version: DatasetVersion, number: int) -> tuple[dict[int, str], dict[int, str]]:
    """({row: its label}, {row: where that is from}) of the live rows of the test split."""
    truths, by = {}, {}
    columns = ["row_id", "split", "label", live.FOR, live.LABEL]
    with storage.open_blob(version.file_sha256) as stream:
        for batch in pq.ParquetFile(stream).iter_batches(2000, columns=columns):
            for row in batch.to_pylist():
                if (
                    row["split"] == TEST
                    and row[live.FOR] == str(number)
                    and row["label"] is not None
                ):
                    truths[row["row_id"]] = row["label"]
                    by[row["row_id"]] = row[live.LABEL] or live_rows.TEACHER
    return truths, by


def _answers(
    retraining: Retraining, champion: ModelVersion, version: DatasetVersion, rows: list[int]
) -> dict[int, str | None]:
    """What the champion says of these rows now: `{row: answer}`. Raises Stopped and GivenBack."""
    with tempfile.TemporaryDirectory(dir=storage.working_folder("ingesting")) as name:
        folder = Path(name)
        folders.place_files(champion, folder / "inputs/model")
        described = folders.place_dataset(version, folder)
        described.pop("weight", None)
        np.save(folder / "row_ids.npy", np.array(rows, dtype="<i8"))
        config = {
            "task": version.dataset.task,
            "model": {"name": champion.reference, "path": "inputs/model"},
            "dataset": described,
            "row_ids": "row_ids.npy",
        }
        try:
            teacher_children.answered(
                folder, verb="annotate", config=config, tell=lambda _: _stay(retraining)
            )
        except teacher_children.Failed as failed:
            raise Stopped("asking", f"{champion.reference} could not be asked. {failed}") from None
        table = pq.read_table(folder / "answers.parquet", columns=["row_id", "label"])
    return dict(zip(*(table.column(one).to_pylist() for one in ("row_id", "label")), strict=True))


def _stay(retraining: Retraining) -> None:
    """Raises GivenBack when this process has to leave, or nobody wants to know any more."""
    if leases.stopping.is_set():
        raise GivenBack
    if not Retraining.objects.filter(pk=retraining.pk, status=Status.JUDGING).exists():
        raise GivenBack


def _worth(answer: str | None, truth: str, version: DatasetVersion) -> float | None:
    """What an answer is worth, as engine/predictions.py counts it."""
    if version.problem == REGRESSION:
        return None if answer is None else (float(answer) - float(truth)) ** 2
    if version.problem == MULTI:
        parts = version.separator
        return float(set((answer or "").split(parts)) == set(truth.split(parts)))
    if answer is None:
        return None
    if version.dataset.task == TOKENS_TASK:
        pairs = zip(answer.split(), truth.split(), strict=False)
        known = [said == right for said, right in pairs if right != "?"]
        return sum(known) / len(known) if known else None
    return float(answer == truth)


# -- the gate -------------------------------------------------------------------------------------


def _kept(old: JSON, measure: Measure, champion: ModelVersion, policy: Mapping[str, Any]) -> JSON:
    rule = {"rule": "old", "label": "Not worse on old rows"}
    if not old["rows"]:
        return {**rule, "passed": False, "sentence": old["sentence"]}
    low, high = old["interval"]
    asked = policy["max_old_loss"]
    allowed = asked * old["champion"] if measure.falls else asked
    worst = high if measure.falls else -low
    sentence = (
        f"{old['sentence']} Asked: at most {_size(allowed, measure)} worse, at the worse end of "
        "the interval."
    )
    return {**rule, "passed": worst <= allowed, "sentence": sentence}


def _gained(new: JSON, measure: Measure, champion: ModelVersion, policy: Mapping[str, Any]) -> JSON:
    rule = {"rule": "new", "label": "Better on live rows"}
    if not new["rows"]:
        return {**rule, "passed": False, "sentence": new["sentence"]}
    low, high = new["interval"]
    asked = policy["min_new_gain"]
    wanted = asked * new["champion"] if measure.falls else asked
    gain = -high if measure.falls else low
    passed = gain > wanted and new["rows"] >= FEW
    sentence = new["sentence"]
    if new["rows"] < FEW:
        sentence += f" Fewer than {FEW} rows say too little."
    else:
        least = f"more than {_size(wanted, measure)} better" if wanted else "better"
        sentence += f" Asked: {least}, at the worse end of the interval."
    if new["teacher_labels"]:
        many = ui.grouped(new["teacher_labels"])
        sentence += (
            f" {many} of these labels are the teacher's: on them it says how like the teacher a "
            "student is, not how right."
        )
    return {**rule, "passed": passed, "sentence": sentence}


def _classes(retraining: Retraining) -> list[JSON]:
    """Where rows came of classes that the dataset does not know: those were left out, and what a
    teacher that does not know them either says of others like them is no measure."""
    found = collecting.found(retraining.collected) if retraining.collected is not None else {}
    unknown = (found.get("left_out") or {}).get("unknown_label", 0)
    if not unknown:
        return []
    known = (found.get("labels") or {}).get(live_rows.TRUE, 0)
    passed = unknown <= MOST_UNKNOWN * (unknown + known)
    sentence = (
        f"{ui.grouped(unknown)} of {ui.grouped(unknown + known)} live rows with a label are of "
        "classes that the dataset does not know, and were left out."
    )
    if not passed:
        sentence += (
            " The world has new classes: neither this student nor a teacher without them can name "
            "them. Add rows of these classes to the dataset, and teach the teacher first."
        )
    rule = {"rule": "classes", "label": "Of classes that are known"}
    return [{**rule, "passed": passed, "sentence": sentence}]


def _rules(challenger: ModelVersion, alias: str) -> tuple[str, list[JSON]]:
    """What the alias's own rules say of it."""
    try:
        found = promotion.judge(version=challenger, alias=alias)
    except DomainError as error:
        check = {"rule": "alias", "label": alias, "passed": False, "sentence": error.detail}
        return error.detail, [check]
    return found.sentence, [one.as_dict() for one in found.checks]


def _sentence(
    gate: list[JSON],
    rules: str,
    checks: list[JSON],
    challenger: ModelVersion,
    champion: ModelVersion,
) -> str:
    broken = [one["label"].lower() for one in (*gate, *checks) if not one["passed"]]
    if not broken:
        return (
            f"{challenger.reference} is better than {champion.reference} on live rows and not "
            f"worse on old ones. {rules}"
        )
    listed = ", ".join(broken)
    ours, theirs = challenger.reference, champion.reference
    return f"{ours} should not replace {theirs} yet; not shown: {listed}."


def _told(found: JSON, measure: Measure, champion: ModelVersion, where: str) -> JSON:
    """What is kept of a difference, and its sentence."""
    low, high = found["interval"]
    value = found["difference"]
    unit = f" {measure.unit}" if measure.unit else ""
    rows = f"{ui.grouped(found['rows'])} {where}"
    if value == 0:
        words = f"As good as {champion.reference}"
    else:
        better = measure.better if (value < 0) == measure.falls else measure.worse
        words = f"{_size(value, measure)} {better.removeprefix(measure.unit).strip()}"
        words = f"{words} than {champion.reference}"
    span = f"{measure.difference(low)} to {measure.difference(high)}{unit}, 95 %"
    p = found["mcnemar_p"]
    tested = "" if p is None else f", McNemar p {spelt_p(p)}"
    return {
        "rows": found["rows"],
        "challenger": found["student"],
        "champion": found["control_value"],
        "difference": value,
        "interval": [low, high],
        "mcnemar_p": p,
        "answer": found["answer"],
        "few": found["rows"] < FEW,
        "sentence": f"{words} on {rows} ({span}{tested}).",
    }


def _size(value: float, measure: Measure) -> str:
    spelt = f"{abs(value) * measure.factor:.{measure.places}f}".rstrip("0").rstrip(".")
    unit = measure.unit.removesuffix("s") if spelt == "1" else measure.unit
    return f"{spelt} {unit}".strip()


def spelt_p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
