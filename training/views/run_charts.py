"""The figures of a run's page: what was measured on the way, and what came of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from distillhub.templatetags import ui
from projects.ingest import words
from projects.ingest.formats import TOKENS_TASK
from projects.models import ModelVersion
from training import catalog
from training.charts import calibration, confusions, curves, fidelity, sizes
from training.engine import shares
from training.models import Run
from training.services import artifacts as files
from training.services import fidelity as fidelity_report
from training.services import lens, metrics, scores

CHART_POINTS = 1000
FEW = 5  # examples of a kind

Chart = dict[str, Any]


def headline(run: Run) -> str:
    """The metric that a run is judged by first: `accuracy`, `rmse`, `perplexity`, …"""
    return scores.headline(run)


def judged(run: Run) -> list[str]:
    """All that it is judged by."""
    return catalog.metrics_of(run.task, run.problem)


def terms_of(config: Mapping[str, Any]) -> list[str]:
    """The kinds of its losses, of every stage."""
    lists = [stage["losses"] for stage in config.get("stages", [])] or [config.get("losses", [])]
    return list(dict.fromkeys(loss["kind"] for losses in lists for loss in losses))


def units(run: Run, terms: Sequence[str]) -> dict[str, str]:
    """What the loss of each term is counted in."""
    return {term: lens.unit_of(run, term) for term in terms}


def charts(run: Run, *, control: Run | None, teachers: list[ModelVersion]) -> list[Chart]:
    """Every curve of a run, the two that matter most first. Four queries with a control."""
    series = metrics.read(run=run, max_points=CHART_POINTS)["series"]
    first = headline(run)
    beside = None
    if control is not None:
        found = metrics.read(run=control, names=[f"val/{first}"], max_points=CHART_POINTS)
        beside = found["series"].get(f"val/{first}")
    terms = terms_of(run.config)
    own = catalog.scheme_metrics(run.config.get("scheme", "offline"))
    made: list[Chart] = [
        {
            "name": "loss",
            "title": "Loss",
            "figure": curves.losses(series, terms=terms, units=units(run, terms)),
        },
        {
            "name": "accuracy",
            "title": f"Validation {ui.measure(first)}",
            "figure": curves.quality(
                series,
                metric=f"val/{first}",
                teacher=run.metrics.get(f"teacher/val/{first}"),
                teacher_name=str(teachers[0].model) if len(teachers) == 1 else "teachers",
                control=beside,
                with_control=control is not None,
                is_share=ui.is_share(first),
            ),
        },
        *_drives(series, run.config, terms),
        *_closeness(series, taught=bool(teachers), first=first),
        *_further(series, [name for name in [*judged(run), *own] if name != first]),
        {
            "name": "learning_rate",
            "title": "Learning rate",
            "figure": curves.learning_rate(series),
        },
        {
            "name": "throughput",
            "title": "Samples per second",
            "figure": curves.throughput(series),
        },
    ]
    marks = lens.stage_marks(run.config, series)
    for chart in made if marks else []:
        chart["figure"] = curves.with_stages(chart["figure"], marks)
    return made


def _drives(
    series: Mapping[str, Any], config: Mapping[str, Any], terms: Sequence[str]
) -> list[Chart]:
    """What moves the student: each term's share of the gradient, and weights that change."""
    made: list[Chart] = []
    if len(terms) > 1:
        made.append(
            {
                "name": "shares",
                "title": "What drives the student",
                "note": "share of the gradient, by term",
                "figure": curves.shares(series, terms=terms),
            }
        )
    stages = config.get("stages", []) or [config]
    losses = [loss for stage in stages for loss in stage.get("losses", [])]
    moving = [one["kind"] for one in losses if one.get("weight_schedule", "constant") != "constant"]
    if moving:
        made.append(
            {
                "name": "weights",
                "title": "Weights over time",
                "figure": curves.weights(series, terms=list(dict.fromkeys(moving))),
            }
        )
    return made


def _closeness(series: Mapping[str, Any], *, taught: bool, first: str) -> list[Chart]:
    """How near the student is to who teaches it: where there is a teacher, or some is measured."""
    if "val/teacher_rmse" in series or (taught and first == "rmse"):
        distance = curves.divergence(series, metric="val/teacher_rmse", name="distance")
        return [
            {
                "name": "distance",
                "title": "Distance to the teacher",
                "note": "root mean square, validation",
                "figure": distance,
            }
        ]
    if not ("val/agreement" in series or (taught and first != "neighbours")):
        return []
    return [
        {
            "name": "agreement",
            "title": "Agreement with the teacher",
            "note": "validation rows answered alike",
            "figure": curves.agreement(series),
        },
        {
            "name": "kl",
            "title": "Divergence from the teacher",
            "note": "KL in nats, validation",
            "figure": curves.divergence(series),
        },
    ]


def _further(series: Mapping[str, Any], names: Sequence[str]) -> list[Chart]:
    """What else was measured on validation rows: shares on one chart, anything else on its own."""
    there = [name for name in names if f"val/{name}" in series]
    shares = {f"val/{name}": ui.measure(name) for name in there if ui.is_share(name)}
    made: list[Chart] = []
    if shares:
        made.append(
            {
                "name": "scores",
                "title": "Further scores",
                "note": "validation",
                "figure": curves.scores(series, names=shares, is_share=True),
            }
        )
    for name in there:
        if not ui.is_share(name):
            spelt = ui.measure(name)
            figure = curves.scores(series, names={f"val/{name}": spelt}, is_share=False)
            made.append(
                {"name": name, "title": f"Validation {spelt}", "figure": figure}  # e.g. log loss
            )
    return made


def evaluation(run: Run) -> dict[str, Any] | None:
    """The report of the test split with its figures, or None before there is one."""
    try:
        report = fidelity_report.report(run=run)
    except files.NotEvaluated:
        return None
    student, teacher = report["student"] or {}, report.get("teacher") or {}
    control = report["control"] or {}
    taught = bool(teacher)
    examples, fates = report.get("examples", []), report["fates"] or {}
    if run.task == TOKENS_TASK:
        examples = _tagged(report["labels"], examples)
    return report | {
        "judged": judged(run),
        **_of_classes(report["labels"], student, teacher, control),
        **_of_numbers(student, teacher),
        "per_span": _of_spans(student, teacher),
        "sized": _sized(report["sizes"]),
        "slices": [
            # Bars of shares end at 1; those of errors at the largest.
            one | {"most": 1 if one["metric"] == "accuracy" else _most(one["parts"])}
            for one in report.get("slices", [])
        ],
        "examples": [
            (
                kind,
                label,
                # Where the tab of rows has them all, the first few do.
                [one for one in examples if one["kind"] == kind][: FEW if kind in fates else None],
                fates.get(kind),
            )
            for kind, label in (
                ("lost", "Lost to the teacher" if taught else "Foreseen least"),
                ("beat", "Beat the teacher"),
                ("both_wrong", "Both wrong" if taught else "Wrong answers"),
            )
        ],
    }


def _most(parts: list[dict[str, Any]]) -> float:
    return max((one["student"] for one in parts), default=1) or 1


def _of_classes(
    labels: list[str],
    student: Mapping[str, Any],
    teacher: Mapping[str, Any],
    control: Mapping[str, Any],
) -> dict[str, Any]:
    made: dict[str, Any] = {"per_class": None, "confusions": [], "reliability": []}
    if "per_class" in student:
        made["per_class"] = fidelity.per_class(student["per_class"], teacher.get("per_class"))
        made["per_class_height"] = max(200, min(640, 22 * min(len(labels), 24) + 60))
        made["classes"] = _classes(student, teacher, control)
    everybody = [("student", student), ("teacher", teacher), ("control", control)]
    if "confusion" in student:
        made["confusions"] = [
            {
                "who": who,
                "figure": confusions.of(labels, one["confusion"], who=who),
                "title": "Confusion" if who == "student" else f"Confusion of the {who}",
                "note": "share of each true class",
                "name": "confusion" if who == "student" else f"confusion_{who}",
            }
            for who, one in everybody
            if "confusion" in one
        ]
        if "confusion" in teacher:
            apart = confusions.difference(labels, student["confusion"], teacher["confusion"])
            told = {"who": "difference", "figure": apart, "name": "confusion_difference"}
            told |= {"title": "Difference", "note": "student less teacher"}
            made["confusions"].insert(2, told)
        made["confusion_height"] = max(440, min(680, 26 * len(labels) + 90))
    made["reliability"] = [
        (
            f"Reliability, {who}",
            calibration.diagram(one["reliability"], who=who),
            f"calibration error {ui.percent(one.get('ece'))}",
            "reliability" if who == "student" else f"reliability_{who}",
        )
        for who, one in everybody
        if one.get("reliability")
    ]
    return made


def _classes(*networks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each class with what student, teacher and control make of it, the commonest first."""
    beside = [
        {one["label"]: one["f1"] for one in network.get("per_class", [])} for network in networks
    ]
    found = [
        one
        | {
            "interval": shares.of_f1(one["precision"], one["recall"], one["rows"]),
            "teacher": beside[1].get(one["label"]),
            "control": beside[2].get(one["label"]),
            "is_few": one["rows"] < shares.FEW,
        }
        for one in networks[0]["per_class"]
    ]
    return sorted(found, key=lambda one: (-one["rows"], one["label"]))


def _of_numbers(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> dict[str, Any]:
    if "answers" not in student:
        return {}
    beside = (teacher["truth"], teacher["answers"]) if "answers" in teacher else None
    return {"scatter": fidelity.scatter(student["truth"], student["answers"], beside)}


def _sized(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """By how long or large rows are, as a figure and as a table."""
    if found is None:
        return None
    name = ui.measure(found["metric"])
    is_share = ui.is_share(found["metric"])
    drawn = sizes.by_size(found["parts"], unit=found["unit"], name=name, is_share=is_share)
    parts = [one | {"span": sizes.span(one)} for one in found["parts"]]
    return {**found, "figure": drawn, "parts": parts}


def _of_spans(student: Mapping[str, Any], teacher: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each type of spans how well the student finds them, the commonest first, and the teacher's
    F1 beside."""
    beside = {one["label"]: one["f1"] for one in teacher.get("per_span", [])}
    found = [one | {"teacher": beside.get(one["label"])} for one in student.get("per_span", [])]
    return sorted(found, key=lambda one: (-one["spans"], one["label"]))


def _tagged(labels: list[str], examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Examples with their words in the colours of what is true and of what each answered."""
    kinds = words.types(labels)
    return [
        one
        | {
            "tagged": {
                who: words.pieces(one["input"] or "", one[who], kinds) if one[who] else None
                for who in ("label", "student", "teacher")
            }
        }
        for one in examples
    ]
