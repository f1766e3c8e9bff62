"""Every figure is one that Plotly itself accepts, and says no more than its numbers."""

from typing import Any

import plotly.graph_objects as go
import pytest

from training.charts import (
    calibration,
    confusions,
    curves,
    fidelity,
    lens,
    machines,
    row_maps,
    sizes,
)
from training.charts.figures import Figure

POINTS: dict[str, list[Any]] = {"steps": [1, 2, 3], "values": [0.5, "NaN", 0.7]}
MEASURED = """train/loss train/soft_targets train/hard_labels train/learning_rate
train/samples_per_second val/loss val/accuracy val/agreement val/kl"""
SERIES = dict.fromkeys(MEASURED.split(), POINTS)
TIMES: dict[str, list[Any]] = {"steps": [1.8e12, 1.8e12 + 9], "values": [1.0, None]}
TAKEN = dict.fromkeys(["system/cpu_percent", "system/gpu0/watts", "system/gpu1/watts"], TIMES)
LABELS = ["a_b", "<b>bold</b>", "c"]
COUNTS = [[8, 2, 0], [1, 9, 0], [0, 0, 0]]
PER_CLASS = [
    {"label": label, "rows": 10, "precision": 0.9, "recall": 0.8, "f1": f1}
    for label, f1 in zip(LABELS, [0.9, 0.4, 0.7], strict=True)
]
BINS: list[dict[str, Any]] = [
    {"low": 0.5, "high": 0.6, "count": 4, "confidence": 0.55, "accuracy": 0.5},
    {"low": 0.6, "high": 0.7, "count": 0, "confidence": None, "accuracy": None},
]

CLOUDS = [
    row_maps.Cloud("wrong", [0.1, 0.2], [1, 2], [3, 4], ["<i>hello</i>", "b"], verdict="wrong"),
    row_maps.Cloud("<b>", [0.3], [3], [5], ["c"]),
    row_maps.Cloud("9 others", [0.4], [4], [6], ["d"], quiet=True),
]

PARTS = [
    {
        "from": 1.0,
        "to": 9.0,
        "rows": 40,
        "student": {"value": 0.8, "interval": [0.7, 0.9]},
        "teacher": {"value": 0.9, "interval": None},
        "control": None,
    }
]
FIGURES = {
    "losses": curves.losses(SERIES, terms=["soft_targets", "hard_labels"]),
    "losses of nothing yet": curves.losses({}, terms=["hard_labels"]),
    "quality": curves.quality(SERIES, teacher=0.9, control=POINTS, with_control=True),
    "quality of numbers": curves.quality(SERIES, metric="val/rmse", teacher=2.5, is_share=False),
    "shares": curves.shares(SERIES, terms=["soft_targets", "hard_labels"]),
    "weights": curves.weights(SERIES, terms=["soft_targets"]),
    "scores": curves.scores(SERIES, names={"val/r2": "R²"}, is_share=False),
    "stages": curves.with_stages(curves.quality(SERIES, teacher=0.9), [(2, "<b>second</b>")]),
    "agreement": curves.agreement(SERIES),
    "divergence": curves.divergence(SERIES),
    "learning rate": curves.learning_rate(SERIES),
    "throughput": curves.throughput(SERIES),
    **{f"machine {one['name']}": one["figure"] for one in machines.of_run(TAKEN)},
    **{one["name"]: one["figure"] for one in machines.of_worker(3, {"cpu": TIMES}, {0: "L4"})},
    "confusion": confusions.of(LABELS, COUNTS),
    "confusion, difference": confusions.difference(LABELS, COUNTS, COUNTS),
    "reliability of one": calibration.diagram(BINS, who="teacher"),
    "reliability of nobody": calibration.diagram([], who="student"),
    "sizes": sizes.by_size(PARTS, unit="characters", name="accuracy", is_share=True),
    "sizes of nothing": sizes.by_size([], unit="pixels", name="RMSE", is_share=False),
    "term": lens.term(SERIES, "soft_targets", unit="nats", place=0),
    "entropy": lens.entropy([{"temperature": 4.0, "entropy": 1, "other_mass": 0.4}], [4.0], 2.0),
    "softened": lens.softened([0.0, -2.0, -900.0], [*LABELS, "c"][:3], [1.0, 4.0], [4.0]),
    "softened, several": lens.several([3.0, -900.0], LABELS[:2], [1.0, 4.0], [4.0]),
    "reliability": fidelity.reliability(BINS, BINS),
    "per class": fidelity.per_class(PER_CLASS, PER_CLASS),
    "scatter": fidelity.scatter([1, 2], [1.5, "NaN"], ([1, 2], [1.2, 2.1])),
    "scatter of nothing": fidelity.scatter([], []),
    "row map": row_maps.scatter(CLOUDS),
    "row map of nothing": row_maps.scatter([]),
}


def names(figure: Figure) -> list[str]:
    return [trace["name"] for trace in figure["data"]]


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES.keys())
def test_plotly_accepts_the_figure(figure: Figure) -> None:
    go.Figure(figure)


def test_a_value_that_is_not_finite_is_a_break_and_never_a_zero() -> None:
    line = curves.losses(SERIES, terms=[])["data"][0]
    assert line["y"] == [0.5, None, 0.7]
    assert line["connectgaps"] is False


def test_a_time_without_samples_is_a_break() -> None:
    found = machines.broken([1000, 2000, 9000, 10_000], [1, 2, 3, 4], longest=5000)
    assert found == {"steps": [1000, 2000, 2001, 9000, 10_000], "values": [1, 2, None, 3, 4]}


def test_each_term_of_the_loss_has_its_line() -> None:
    drawn = names(curves.losses(SERIES, terms=["soft_targets", "hard_labels"]))
    assert drawn == ["total", "soft targets", "hard labels", "validation"]


def test_a_single_term_is_the_total_and_not_drawn_twice() -> None:
    assert names(curves.losses(SERIES, terms=["hard_labels"])) == ["total", "validation"]


def test_a_loss_says_what_it_is_counted_in() -> None:
    nats = {"soft_targets": "nats", "hard_labels": "nats"}
    drawn = curves.losses(SERIES, terms=list(nats), units=nats)
    assert drawn["layout"]["yaxis"]["title"]["text"] == "nats"
    mixed = nats | {"hidden_states": "squared difference"}
    drawn = curves.losses(SERIES, terms=list(mixed), units=mixed)
    assert drawn["layout"]["yaxis"]["title"]["text"] == "weighted sum"
    assert "hidden states, squared difference" in names(drawn)
    assert fidelity.per_class(PER_CLASS)["layout"]["xaxis"]["title"]["text"] == "F1"


def test_the_teacher_is_a_dashed_line_across_the_accuracy_chart() -> None:
    layout = curves.quality(SERIES, teacher=0.9, teacher_name="big")["layout"]
    (shape,) = layout["shapes"]
    assert (shape["y0"], shape["y1"], shape["line"]["dash"]) == (0.9, 0.9, "dash")
    assert layout["annotations"][0]["text"] == "big 90.0 %"


@pytest.mark.parametrize("teacher", [None, "NaN", float("nan")])
def test_a_teacher_not_yet_scored_draws_no_line(teacher: Any) -> None:
    assert "shapes" not in curves.quality(SERIES, teacher=teacher)["layout"]


def test_the_control_lies_over_the_student_under_a_series_of_its_own() -> None:
    figure = curves.quality(SERIES, control=POINTS, with_control=True)
    assert [trace["meta"]["series"] for trace in figure["data"]] == [
        "val/accuracy",
        "control/val/accuracy",
    ]


def test_a_line_is_there_before_its_first_point_so_that_a_live_page_only_appends() -> None:
    figure = curves.losses({}, terms=["soft_targets", "hard_labels"])
    assert all(trace["x"] == [] for trace in figure["data"])
    assert len(figure["data"]) == 4


def test_a_row_map_has_its_first_group_in_front_and_what_is_quiet_behind() -> None:
    drawn = row_maps.scatter(CLOUDS)["data"]
    assert [trace["name"] for trace in drawn] == ["9 others", "&lt;b&gt;", "wrong"]
    assert [trace["meta"]["place"] for trace in drawn] == [7, 1, 0]
    assert drawn[-1]["meta"]["tone"] == "bad"
    assert len({trace["marker"]["symbol"] for trace in drawn[1:]}) == 2
    assert drawn[-1]["customdata"] == [3, 4]
    many = [row_maps.Cloud(str(one), [0], [0], [one], [""]) for one in range(20)]
    looks = [
        (trace["marker"]["color"], trace["marker"]["symbol"])
        for trace in row_maps.scatter(many)["data"]
    ]
    assert len(set(looks)) == 20
    assert drawn[-1]["text"][0] == "&lt;i&gt;hello&lt;/i&gt;"


def test_peoples_words_are_never_markup() -> None:
    heat = confusions.of(LABELS, COUNTS)["data"][0]
    assert heat["x"] == ["a_b", "&lt;b&gt;bold&lt;/b&gt;", "c"]


def test_confusion_is_a_share_of_each_true_class_and_an_empty_class_is_no_fault() -> None:
    assert confusions.of(LABELS, COUNTS)["data"][0]["z"] == [
        [0.8, 0.2, 0.0],
        [0.1, 0.9, 0.0],
        [0.0, 0.0, 0.0],
    ]


def test_the_worst_classes_come_first() -> None:
    assert fidelity.per_class(PER_CLASS)["data"][0]["x"] == [0.4, 0.7, 0.9]


def test_classes_whose_shortened_names_are_equal_stay_apart() -> None:
    rows = [row | {"label": "a" * 40 + str(place)} for place, row in enumerate(PER_CLASS)]
    assert len(set(fidelity.per_class(rows)["data"][0]["y"])) == 3


def test_empty_bins_are_not_drawn() -> None:
    assert fidelity.reliability(BINS)["data"][1]["x"] == [0.55]


def test_a_spark_needs_two_points_and_stays_in_its_box() -> None:
    assert curves.spark({"values": [0.5]}) == ""
    assert curves.spark({"values": [0.0, "NaN", 1.0]}) == "0.0,22.0 100.0,2.0"


def test_labels_are_shown_as_they_are_spelt() -> None:
    labels = ["-1", "1", "a_b"]
    heat = confusions.of(labels, [[1, 0, 0], [0, 1, 0], [0, 0, 1]])["data"][0]
    assert heat["x"] == labels
    worst = fidelity.per_class([PER_CLASS[0] | {"label": label} for label in labels])
    assert worst["data"][0]["y"] == labels


@pytest.mark.parametrize("made", [curves.quality, curves.agreement])
def test_a_share_is_drawn_between_nothing_and_all(made: Any) -> None:
    """Left to itself Plotly draws an empty accuracy from -100 to 400 %."""
    for series in ({}, SERIES):
        clip = made(series)["layout"]["yaxis"]["autorangeoptions"]
        assert clip["clipmin"] == 0
        assert 1 <= clip["clipmax"] < 1.1


MEASURED_ONCE = [("a", 0.7), ("b", 0.3)]


def test_shares_that_were_measured_once_are_bars_and_not_an_area_of_no_width() -> None:
    points: dict[str, Any] = {
        f"train/{term}_share": {"steps": [1], "values": [share]} for term, share in MEASURED_ONCE
    }
    once = curves.shares(points, terms=["a", "b"])
    assert [trace["type"] for trace in once["data"]] == ["bar", "bar"]
    go.Figure(once)
    assert "stackgroup" in FIGURES["shares"]["data"][0]


def test_numbers_are_not_told_in_percent() -> None:
    layout = FIGURES["quality of numbers"]["layout"]
    assert layout["annotations"][0]["text"] == "teacher 2.5"
    assert "tickformat" not in layout["yaxis"]


def test_a_stage_begins_at_a_line_with_its_name_beside_the_teachers() -> None:
    layout = FIGURES["stages"]["layout"]
    assert [shape["line"]["dash"] for shape in layout["shapes"]] == ["dash", "dot"]
    assert layout["shapes"][1]["x0"] == 2
    assert layout["annotations"][1]["text"] == "&lt;b&gt;second&lt;/b&gt;"


def test_softened_answers_are_those_of_softmax_and_spread_with_the_temperature() -> None:
    logits = [0.0, -1.0, -3.0]
    assert lens.probabilities(logits, 1.0) == pytest.approx([0.7054, 0.2595, 0.0351], abs=1e-4)
    assert lens.probabilities(logits, 1000.0) == pytest.approx([1 / 3] * 3, abs=1e-2)
    assert lens.probabilities([-5000.0, 0.0], 1.0) == [0.0, 1.0]
    bars = lens.softened([0.0] * 8, list("abcdefgh"), [2.0], [2.0])["data"]
    assert [bar["name"] for bar in bars] == [*"abcde", "all others"]
    assert sum(bar["x"][0] for bar in bars) == pytest.approx(1)
    assert bars[0]["y"] == ["T = 2 ◂   2.08 nats"]


def test_sizes_are_told_by_everybody_that_is_known_there() -> None:
    bars = sizes.by_size(PARTS, unit="characters", name="accuracy", is_share=True)["data"]
    assert [bar["name"] for bar in bars] == ["teacher", "student"]
    assert bars[1]["x"] == ["1 to 9"]
    assert bars[1]["error_y"]["array"] == pytest.approx([0.1])
    assert bars[0]["error_y"]["array"] == [0.0]
