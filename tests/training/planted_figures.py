"""Numbers for every function that draws: none, one, odd ones, and names that are none."""

import itertools
from collections.abc import Callable
from typing import Any

from projects.models import DatasetVersion
from projects.views import dataset_charts
from training.charts import (
    calibration,
    compare,
    confusions,
    curves,
    drift,
    drift_rows,
    drift_series,
    drift_shapes,
    fidelity,
    figures,
    lens,
    machines,
    parallel,
    row_maps,
    run_colours,
    sizes,
    studies,
    sweeps,
    tradeoffs,
)
from training.charts.figures import Figure

NAN, INF = float("nan"), float("inf")
LONG = (
    "<script>alert(1)</script> & a name that nobody would ever give to anything, but somebody did"
)
Made = Callable[[], Figure]


def points(steps: list[Any], values: list[Any]) -> dict[str, list[Any]]:
    return {"steps": steps, "values": values}


NONE, ONE = points([], []), points([7], [0.5])
ODD = points([1, 2, 3, 4, 5], [0.5, "NaN", NAN, INF, 0.25])
NAMES = [
    "train/loss",
    "train/a",
    "train/b",
    "train/a_share",
    "train/b_share",
    "train/a_weight",
    "val/loss",
    "val/accuracy",
    "val/agreement",
    "val/kl",
    "train/learning_rate",
    "train/samples_per_second",
    "system/cpu_percent",
    "system/gpu0/watts",
    "worker/3/cpu",
]


def series(of: dict[str, list[Any]]) -> dict[str, Any]:
    return dict.fromkeys(NAMES, of)


def bins(*values: float) -> list[dict[str, Any]]:
    return [
        {"low": 0.5, "high": 0.6, "count": 4 + at, "confidence": one, "accuracy": one}
        for at, one in enumerate(values)
    ]


def per_class(*labels: str) -> list[dict[str, Any]]:
    return [
        {"label": one, "rows": 3 + at, "precision": 0.9, "recall": NAN, "f1": 0.5}
        for at, one in enumerate(labels)
    ]


def of_series(draw: Callable[[dict[str, Any]], Figure]) -> dict[str, Made]:
    told = {"nothing": {}, "none": series(NONE), "one": series(ONE), "odd": series(ODD)}
    return {name: lambda one=one: draw(one) for name, one in told.items()}  # type: ignore[misc]


def looked(number: int) -> run_colours.Look:
    return run_colours.looks([number])[number]


def lines(*values: Any) -> list[compare.Line]:
    return [
        compare.Line(at + 1, LONG, looked(at + 1), list(range(len(one))), one)
        for at, one in enumerate(values)
    ]


def cloud(count: int, name: str = LONG) -> row_maps.Cloud:
    places = [float(one) for one in range(count)]
    return row_maps.Cloud(name, places, places, list(range(count)), [LONG] * count)


SCORE = sweeps.Score("accuracy", falls=False, is_share=True)
SIDES = (
    sweeps.Dimension("a", LONG, None, is_log=True),
    sweeps.Dimension("b", "b", ["x", "y"], is_log=False),
)
TRIALS = [
    sweeps.Point(at, value, at == 3, {"a": 0.1 * (at + 1), "b": "xy"[at % 2]})
    for at, value in enumerate([0.5, 0.6, None, 0.4, 0.7])
]


def strands(*values: Any) -> list[parallel.Strand]:
    return [parallel.Strand(LONG, [one, one], group=LONG) for one in values]


def marks(*values: tuple[float | None, float | None]) -> list[tradeoffs.Mark]:
    kinds = itertools.cycle(tradeoffs.TONES)
    return [
        tradeoffs.Mark(LONG, kind, x, y, on_frontier=True)
        for (x, y), kind in zip(values, kinds, strict=False)
    ]


def frontier(*values: tuple[float | None, float | None]) -> Figure:
    return tradeoffs.frontier(marks(*values), x="latency", x_unit="ms", y="accuracy")


def paid(calls: int | None, teacher: float = 2.0) -> Figure:
    return tradeoffs.break_even(
        teacher=LONG, student=LONG, total=4.0, teacher_call=teacher, student_call=1.0, calls=calls
    )


def arms(*values: float) -> list[tuple[str, str, list[tuple[int, float]]]]:
    return [("distilled", LONG, [(seed, one) for seed, one in enumerate(values)])]


def ways(*values: float) -> list[dict[str, Any]]:
    return [
        {"key": "distilled", "label": LONG, "score": one, "deviation": None, "seconds": 3.0}
        for one in values
    ]


def differ(*values: float) -> list[dict[str, Any]]:
    return [{"label": LONG, "difference": one, "interval": [one - 1, one + 1]} for one in values]


def parts(*values: float) -> list[dict[str, Any]]:
    return [
        {"from": 1, "to": 5, "rows": 3, "student": {"value": one, "interval": [0.1, 0.9]}}
        for one in values
    ]


def temperatures(*values: float) -> list[dict[str, float]]:
    return [{"temperature": one, "entropy": 0.5, "other_mass": 0.1} for one in values]


def version(**labels: int) -> DatasetVersion:
    splits = {"train": {"rows": 1, "label_counts": labels}}
    return DatasetVersion(labels=list(labels), splits=splits)


def places(count: int) -> list[drift.At]:
    """Hours, of which the fourth is missing."""
    return [drift.At(at, 3_600_000 * (at + (at > 3))) for at in range(count)]


def told(*values: float | None) -> list[drift.Told]:
    return [
        drift.Told(at, one, one, one, beyond=True)
        for at, one in zip(places(len(values)), values, strict=True)
    ]


def intervals(*values: float | None) -> list[drift_series.Share]:
    return [
        drift_series.Share(at, one, 0.1, one, 40)
        for at, one in zip(places(len(values)), values, strict=True)
    ]


def foreign(count: int, picture: str = "") -> list[drift_rows.Row]:
    return [drift_rows.Row(float(at), 0.5, f"id-{at}", LONG, picture) for at in range(count)]


NAMED = {"title": {"text": "of nothing"}}
#: Of every function: a name for each planted case, and what draws it.
PLANTED: dict[Callable[..., Any], dict[str, Made]] = {
    figures.figure: {
        "none": lambda: figures.figure([], x=NAMED, y=NAMED, caption="There is nothing to see.")
    },
    calibration.diagram: {
        "none": lambda: calibration.diagram([], who="student"),
        "one": lambda: calibration.diagram(bins(0.55), who="teacher"),
        "odd": lambda: calibration.diagram(bins(0.5, NAN, INF), who="control"),
    },
    compare.curves: {
        "none": lambda: compare.curves([], measure="accuracy"),
        "one": lambda: compare.curves(lines([0.5]), measure="accuracy", is_share=True),
        "odd": lambda: compare.curves(lines(*[[0.5, NAN, INF]] * 30), measure="loss"),
    },
    compare.scatter: {
        "none": lambda: compare.scatter([], x="a", y="b"),
        "one": lambda: compare.scatter(
            [compare.Point(1, LONG, looked(1), 1.0, NAN)], x=LONG, y="b", log_x=True
        ),
    },
    confusions.of: {
        "none": lambda: confusions.of([], []),
        "one": lambda: confusions.of([LONG], [[0]]),
        "odd": lambda: confusions.of([LONG, LONG], [[1, 0], [0, 3]], who="teacher"),
    },
    confusions.difference: {
        "none": lambda: confusions.difference([], [], []),
        "one": lambda: confusions.difference([LONG], [[0]], [[1]]),
    },
    curves.losses: of_series(lambda told: curves.losses(told, terms=["a", "b"])),
    curves.quality: of_series(
        lambda told: curves.quality(
            told, teacher=NAN, name=LONG, control=told.get("val/loss"), with_control=True
        )
    ),
    curves.shares: of_series(lambda told: curves.shares(told, terms=["a", "b"])),
    curves.weights: of_series(lambda told: curves.weights(told, terms=["a"])),
    curves.scores: of_series(
        lambda told: curves.scores(told, names={"val/kl": "KL", "val/loss": "b"}, is_share=False)
    ),
    curves.alike: of_series(
        lambda told: curves.alike(told, names=["train/loss", "val/loss", LONG], is_share=True)
    ),
    curves.with_stages: of_series(
        lambda told: curves.with_stages(curves.losses(told, terms=[]), [(2, LONG)])
    ),
    curves.agreement: of_series(curves.agreement),
    curves.divergence: of_series(curves.divergence),
    curves.learning_rate: of_series(curves.learning_rate),
    curves.throughput: of_series(curves.throughput),
    drift.health: {
        "none": lambda: drift.health([], []),
        "one": lambda: drift.health(places(1), [(LONG, [0.5])]),
        "rows": lambda: drift.health(places(6), [(LONG, [0.5] * 6)], by_hours=False),
        "odd": lambda: drift.health(places(7), [(LONG, [0, None, NAN, INF, 9, 1, -1])] * 2),
    },
    drift.slices: {
        "none": lambda: drift.slices([], [], []),
        "odd": lambda: drift.slices([LONG, LONG], [LONG, "b"], [[1, None], [NAN, 5]]),
    },
    drift.signal: {
        "none": lambda: drift.signal([], name="PSI", unit="PSI"),
        "one": lambda: drift.signal(told(0.5), name=LONG, unit=LONG),
        "odd": lambda: drift.signal(
            told(0.5, None, NAN, INF), name=LONG, unit="", bands=[(0, 7_200_000, "critical")]
        ),
    },
    drift.with_versions: {
        "none": lambda: drift.with_versions(drift.health([], []), []),
        "one": lambda: drift.with_versions(
            drift.signal(told(0.5, 0.1), name="PSI", unit="PSI"), [(3_600_000, LONG)]
        ),
    },
    drift_rows.scatter: {
        "none": lambda: drift_rows.scatter([], [], []),
        "one": lambda: drift_rows.scatter(foreign(1), foreign(1), foreign(1)),
        "odd": lambda: drift_rows.scatter(foreign(9), foreign(3), foreign(9)),
        "pictures": lambda: drift_rows.scatter([], foreign(3, "/a"), foreign(9, "/a")),
    },
    drift_series.volume: {
        "none": lambda: drift_series.volume([], [], []),
        "odd": lambda: drift_series.volume(places(3), [5, 0, 9], [0, 0, 4]),
    },
    drift_series.pace: {
        "none": lambda: drift_series.pace([], []),
        "odd": lambda: drift_series.pace(places(3), [INF, None, 9.0]),
    },
    drift_series.latency: {
        "none": lambda: drift_series.latency([], []),
        "odd": lambda: drift_series.latency(places(3), [{}, {"p50": NAN, "p95": 2.0}, {"p99": 9}]),
    },
    drift_series.confidence: {
        "none": lambda: drift_series.confidence([], []),
        "odd": lambda: drift_series.confidence(places(2), [{"mean": NAN}, {"mean": 0.5}], 0.9),
    },
    drift_series.agreement: {
        "none": lambda: drift_series.agreement([]),
        "odd": lambda: drift_series.agreement(intervals(0.5, None, NAN, INF), NAN),
    },
    drift_series.accuracy: {
        "none": lambda: drift_series.accuracy([], []),
        "odd": lambda: drift_series.accuracy(intervals(0.5, NAN), intervals(0.9, None), 0.95),
    },
    drift_series.alike: {
        "none": lambda: drift_series.alike([], []),
        "odd": lambda: drift_series.alike(intervals(0.5, NAN), intervals(None, INF), 0.95),
    },
    drift_series.calibration_error: {
        "none": lambda: drift_series.calibration_error([]),
        "odd": lambda: drift_series.calibration_error(intervals(0.1, NAN), 0.02),
    },
    drift_series.faults: {
        "none": lambda: drift_series.faults([], []),
        "odd": lambda: drift_series.faults(
            places(3), [{}, {"both_right": 5, "both_wrong": NAN}, {"student_wrong": 2}]
        ),
    },
    drift_shapes.numbers: {
        "none": lambda: drift_shapes.numbers([], [], [], name="age"),
        "one": lambda: drift_shapes.numbers([0.0, 1.0], [1.0], [], name=LONG),
        "odd": lambda: drift_shapes.numbers([0, 1, 2], [0.5, NAN], [INF, 1], name=LONG),
    },
    drift_shapes.categories: {
        "none": lambda: drift_shapes.categories([], [], []),
        "odd": lambda: drift_shapes.categories([LONG] * 30, [NAN] * 30, [0.5] * 30),
    },
    drift_shapes.calibration: {
        "none": lambda: drift_shapes.calibration([], []),
        "odd": lambda: drift_shapes.calibration(bins(0.5, NAN), bins(INF)),
    },
    fidelity.reliability: {
        "none": lambda: fidelity.reliability([]),
        "odd": lambda: fidelity.reliability(bins(0.5, NAN), bins(INF)),
    },
    fidelity.per_class: {
        "none": lambda: fidelity.per_class([]),
        "odd": lambda: fidelity.per_class(per_class(LONG, LONG), per_class(LONG)),
    },
    fidelity.scatter: {
        "none": lambda: fidelity.scatter([], []),
        "one": lambda: fidelity.scatter([1.0], [2.0]),
        "odd": lambda: fidelity.scatter([1, NAN, 2], [INF, "NaN", 1], ([1], [NAN])),
    },
    lens.term: of_series(lambda told: lens.term(told, "a", unit="nats", place=0)),
    lens.entropy: {
        "none": lambda: lens.entropy([], [], 1.0),
        "one": lambda: lens.entropy(temperatures(1.0), [1.0], 1.0),
    },
    lens.softened: {
        "one": lambda: lens.softened([1.0], [LONG], [1.0, 4.0], [4.0]),
        "odd": lambda: lens.softened([1e3, -1e3] * 4, [LONG] * 8, [1.0, 64.0], [4.0]),
    },
    lens.several: {"odd": lambda: lens.several([1e3, -1e3, 0], [LONG] * 3, [1.0, 64.0], [4.0])},
    parallel.coordinates: {
        "none": lambda: parallel.coordinates([], []),
        "odd": lambda: parallel.coordinates(
            [parallel.Axis(LONG, is_log=True), parallel.Axis("b")], strands(1.0, NAN, None, INF, 0)
        ),
        "words": lambda: parallel.coordinates(
            [parallel.Axis(LONG, words=[LONG]), parallel.Axis("b")], strands(LONG, True)
        ),
    },
    row_maps.scatter: {
        "none": lambda: row_maps.scatter([]),
        "one": lambda: row_maps.scatter([cloud(1)]),
        "odd": lambda: row_maps.scatter([cloud(2, f"{one} {LONG}") for one in range(9)]),
    },
    sizes.by_size: {
        "none": lambda: sizes.by_size([], unit="words", name="accuracy", is_share=True),
        "odd": lambda: sizes.by_size(parts(0.5, NAN), unit="words", name="RMSE", is_share=False),
    },
    studies.by_seed: {
        "none": lambda: studies.by_seed([], is_share=True),
        "one": lambda: studies.by_seed(arms(0.5), is_share=True),
        "odd": lambda: studies.by_seed(arms(0.5, NAN, 2.0), is_share=False),
    },
    studies.against_cost: {
        "none": lambda: studies.against_cost([], measure="accuracy", is_share=True, teacher=None),
        "odd": lambda: studies.against_cost(
            ways(0.5, NAN), measure="accuracy", is_share=True, teacher=0.9
        ),
    },
    studies.differences: {
        "none": lambda: studies.differences([], factor=1, unit="points"),
        "odd": lambda: studies.differences(differ(1.0, NAN), factor=100, unit=LONG),
    },
    sweeps.history: {
        "none": lambda: sweeps.history([], SCORE),
        "odd": lambda: sweeps.history([("student", LONG, TRIALS)], SCORE),
    },
    sweeps.together: {
        "none": lambda: sweeps.together([], SIDES, SCORE),
        "odd": lambda: sweeps.together(TRIALS, SIDES, SCORE),
    },
    sweeps.importance: {
        "none": lambda: sweeps.importance([]),
        "odd": lambda: sweeps.importance([(LONG, NAN), ("b", 0.5)]),
    },
    sweeps.contour: {
        "none": lambda: sweeps.contour([], *SIDES, SCORE),
        "one": lambda: sweeps.contour(TRIALS[:1], *SIDES, SCORE),
        "odd": lambda: sweeps.contour(TRIALS, *SIDES, SCORE),
    },
    tradeoffs.frontier: {
        "none": lambda: frontier(),
        "one": lambda: frontier((1.0, 0.5)),
        "odd": lambda: frontier((NAN, 0.5), (1.0, INF), (None, None), (3.0, 0.5), (0.0, 0.4)),
        "many": lambda: frontier(*[(1.0 + one, 0.5) for one in range(60)]),
    },
    tradeoffs.break_even: {
        "once": lambda: paid(4),
        "at once": lambda: paid(0),
        "never": lambda: paid(None, teacher=0.5),
        "free": lambda: paid(None, teacher=0.0),
    },
    dataset_charts.labels: {
        "none": lambda: dataset_charts.labels(version())[0],
        "odd": lambda: dataset_charts.labels(version(**{LONG: 3, "b": 0}))[0],
    },
    dataset_charts.histogram: {
        "none": lambda: dataset_charts.histogram([], [], "words"),
        "odd": lambda: dataset_charts.histogram([0, 1, 9], [3, 0], "words"),
    },
    dataset_charts.distribution: {
        "odd": lambda: dataset_charts.distribution(
            {"histogram": {"edges": [0.0, 0.5], "counts": [3]}}, ""
        )
    },
}
#: Those that answer several charts, each with its figure.
SEVERAL: dict[Callable[..., Any], dict[str, Callable[[], list[dict[str, Any]]]]] = {
    machines.of_run: {
        name: lambda told=told: machines.of_run(series(told))  # type: ignore[misc]
        for name, told in (("none", NONE), ("one", ONE), ("odd", ODD))
    },
    machines.of_worker: {
        name: lambda told=told: machines.of_worker(3, series(told), {0: LONG})  # type: ignore[misc]
        for name, told in (("none", NONE), ("odd", ODD))
    },
}
