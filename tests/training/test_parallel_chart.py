"""Parallel coordinates: where lines run, what is written beside the axes, what is a gap."""

import plotly.graph_objects as go
import pytest

from training.charts.parallel import Axis, Strand, coordinates

AXES = [
    Axis("learning rate", is_log=True),
    Axis("student", words=["tiny@1", "<small>@1"]),
    Axis("accuracy", is_share=True),
]
STRANDS = [
    Strand("run 1", [0.001, "tiny@1", 0.5], group="others", tone="control"),
    Strand("run 2", [0.1, "<small>@1", 0.9], group="best"),
    Strand("run 3", [0.01, "tiny@1", float("nan")], group="others", tone="control"),
]


@pytest.mark.parametrize(
    ("axes", "strands"),
    [
        (AXES, STRANDS),
        (AXES, STRANDS[:1]),
        (AXES, []),
        ([], []),
        (AXES[:1], [Strand("<b>", [None], group="g")]),
        ([Axis("yes or no")], [Strand("a", [True], group="g"), Strand("b", [False], group="g")]),
    ],
)
def test_plotly_accepts_any_number_of_axes_and_lines(
    axes: list[Axis], strands: list[Strand]
) -> None:
    go.Figure(coordinates(axes, strands))


def test_lines_of_a_group_are_one_trace_with_gaps_between_them() -> None:
    others, best = coordinates(AXES, STRANDS)["data"]
    assert (others["name"], best["name"]) == ("others", "best")
    assert others["x"] == [0, 1, 2, None, 0, 1, 2, None]
    assert best["y"] == [1.0, 0.75, 1.0, None]


def test_a_logarithmic_axis_has_its_mean_of_magnitudes_in_the_middle() -> None:
    made = coordinates(AXES, STRANDS)
    others = made["data"][0]
    assert others["y"][4] == pytest.approx(0.5)  # 0.01 between 0.001 and 0.1
    beside = [one["text"] for one in made["layout"]["annotations"] if one["x"] == 0]
    assert beside == ["0.001", "0.01", "0.1"]


def test_what_is_no_number_or_does_not_fit_a_logarithm_is_a_gap() -> None:
    axes = [Axis("rate", is_log=True), Axis("score")]
    lines = [Strand("a", [0.0, float("nan")], group="g"), Strand("b", [0.1, 1.0], group="g")]
    (trace,) = coordinates(axes, lines)["data"]
    assert trace["y"] == [None, None, None, 0.5, 0.5, None]


def test_an_axis_on_which_less_is_better_is_turned() -> None:
    lines = [Strand("a", [1.0], group="g"), Strand("b", [2.0], group="g")]
    (trace,) = coordinates([Axis("loss", falls=True)], lines)["data"]
    assert trace["y"] == [1.0, None, 0.0, None]


def test_peoples_words_are_never_markup() -> None:
    made = coordinates(AXES, STRANDS)
    beside = [one["text"] for one in made["layout"]["annotations"] if one["x"] == 1]
    assert beside == ["tiny@1", "&lt;small&gt;@1"]
    assert "<small>" not in str(made["data"])


def test_of_many_words_only_the_ends_are_written() -> None:
    lines = [Strand(str(at), [f"student-{at}"], group="g") for at in range(40)]
    assert len(coordinates([Axis("student")], lines)["layout"]["annotations"]) == 2
