"""What holds of every figure, whoever draws it. A function of training/charts/ that answers a
figure is found by itself, and has to have planted numbers (planted_figures.py)."""

import html
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from typing import Any

import plotly.graph_objects as go
import pytest

from projects.views import dataset_charts
from tests.training.planted_figures import NAN, PLANTED, SEVERAL, Made, places, points
from training import charts
from training.charts import (
    curves,
    drift,
    figures,
    row_maps,
    thinning,
)
from training.charts.figures import COLOURS


def drawing(module: Any) -> Iterator[Callable[..., Any]]:
    """Public functions of a module whose answer holds figures."""
    for name, found in inspect.getmembers(module, inspect.isfunction):
        if found.__module__ != module.__name__ or name.startswith("_"):
            continue
        answer = re.search(
            r"->\s*\(?\s*(tuple\[Figure|Figure|list\[Chart\])", inspect.getsource(found)
        )
        if answer:
            yield found


FOUND = [
    function
    for one in pkgutil.iter_modules(charts.__path__)
    for function in drawing(importlib.import_module(f"training.charts.{one.name}"))
] + list(drawing(dataset_charts))


def test_every_function_that_draws_has_planted_numbers() -> None:
    """Add those of a new one to PLANTED."""
    lacking = [f"{one.__module__}.{one.__name__}" for one in FOUND if one not in PLANTED | SEVERAL]
    assert lacking == []
    assert len(FOUND) > 30


CASES = [
    pytest.param(draw, id=f"{function.__module__.rpartition('.')[2]}.{function.__name__}-{name}")
    for function, cases in PLANTED.items()
    for name, draw in cases.items()
] + [
    pytest.param(
        lambda draw=draw, at=at: draw()[at]["figure"], id=f"{function.__name__}-{name}-{at}"
    )
    for function, several in SEVERAL.items()
    for name, draw in several.items()
    for at in range(len(draw()))
]


@pytest.mark.parametrize("draw", CASES)
def test_a_figure_is_valid_and_says_what_it_is(draw: Made) -> None:
    figure = draw()
    go.Figure(figure)  # Plotly's own schema
    json.dumps(figure, allow_nan=False)  # what is no number would end the page's script
    caption = figure["layout"]["meta"].pop("caption")  # which a template escapes
    shown = [{**trace, "meta": None} for trace in figure["data"]]  # meta is never drawn
    assert "<script" not in json.dumps([shown, figure["layout"]])
    assert re.fullmatch(r"[A-Z0-9].{10,220}\.", caption), caption
    for name in ("xaxis", "yaxis"):
        assert says_what_it_counts(figure["layout"][name]), (name, figure["layout"][name])
    for trace in figure["data"]:
        assert trace["name"]
        assert len(html.unescape(trace["name"])) <= 80
        tone = trace.get("meta", {}).get("tone")
        known = COLOURS | row_maps.INKS
        assert tone is None or tone in known
        for part in ("line", "marker"):
            if tone and trace.get(part, {}).get("color"):
                assert trace[part]["color"] == known[tone], (trace["name"], part)


def says_what_it_counts(axis: dict[str, Any]) -> bool:
    """By a title, a unit on its ticks, names beside it; or there is nothing to count along it."""
    title = axis.get("title")
    return bool(
        (title.get("text") if isinstance(title, dict) else title)
        or axis.get("ticksuffix", "").strip()
        or axis.get("type") == "category"
        or "ticktext" in axis
        or axis.get("visible") is False
        or axis.get("showticklabels") is False
    )


@pytest.mark.parametrize("draw", CASES)
def test_no_two_of_a_figure_look_alike(draw: Made) -> None:
    """In colours, else in dashes, shapes, or what they are. What an axis names, or is of one group,
    may."""
    figure = draw()
    looks: dict[str, str] = {}
    for trace in figure["data"]:
        if figure["layout"]["meta"].get("named") or trace.get("hoverinfo") == "skip":
            continue
        marker = trace.get("marker", {})
        look = [trace.get("type"), trace.get("meta", {}).get("tone"), trace.get("mode")]
        look += [trace.get("line", {}).get("dash"), str(marker.get("symbol"))]
        assert looks.setdefault(json.dumps(look), trace["name"]) == trace["name"]


# Many points --------------------------------------------------------------------------------------

MANY = 1_000_000


def test_a_million_points_are_thinned_and_neither_a_spike_nor_a_break_is_lost() -> None:
    values: list[Any] = [0.0] * MANY
    values[123_456], values[777_777], values[500_000] = 9.0, -9.0, NAN
    (line, _) = curves.losses({"train/loss": points(list(range(MANY)), values)}, terms=[])["data"]
    assert len(line["x"]) == len(line["y"]) <= thinning.MOST_DRAWN
    told = dict(zip(line["x"], line["y"], strict=True))
    assert (told[123_456], told[777_777]) == (9.0, -9.0)
    assert None in line["y"]
    assert (line["x"][0], line["x"][-1]) == (0, MANY - 1)
    assert line["meta"]["of"] == MANY


def test_of_a_cloud_of_a_million_every_part_stays_with_its_point() -> None:
    drawn = figures.figure(
        [
            {
                "type": "scatter",
                "mode": "markers",
                "name": "many",
                "x": list(range(MANY)),
                "y": list(range(MANY)),
                "customdata": list(range(MANY)),
                "marker": {"size": list(range(MANY)), "color": COLOURS["student"]},
            }
        ]
    )["data"][0]
    assert len(drawn["x"]) == thinning.MOST_DRAWN
    assert drawn["x"] == drawn["y"] == drawn["customdata"] == drawn["marker"]["size"]
    assert drawn["x"][-1] == MANY - 1


@pytest.mark.parametrize("count", [0, 1, 2, 3, thinning.MOST_DRAWN, thinning.MOST_DRAWN + 1])
def test_few_points_are_all_drawn(count: int) -> None:
    (line, _) = curves.losses({"train/loss": points(list(range(count)), [0.5] * count)}, terms=[])[
        "data"
    ]
    assert len(line["x"]) == count if count <= thinning.MOST_DRAWN else len(line["x"]) < count


def test_a_window_by_itself_has_a_width_on_the_heat_map() -> None:
    heat = drift.health(places(1), [("brightness", [2.0])])["data"][0]
    assert (heat["xtype"], heat["x0"], heat["dx"]) == ("scaled", heat["x"][0], drift.HOUR)
    assert "dx" not in drift.health(places(2), [("brightness", [2.0, 0])])["data"][0]
