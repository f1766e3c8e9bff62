"""Windows of a monitor: whatever order rows come in, whatever watches them, and how often it rings
for nothing."""

import json
import zlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.engine.watched_rows import baseline, rows
from training.engine.detectors import DETECTORS, StreamDetector
from training.engine.watching import (
    conditions,
    counting,
    defaults,
    facts,
    keeping,
    scoring,
    signals,
    streams,
    usual,
)
from training.engine.watching.baseline import Baseline
from training.engine.watching.counting import View, count, later
from training.engine.watching.distinct import MOST, Distinct
from training.engine.watching.wants import Unanswered, Wants
from training.engine.watching.windows import Sums, merged

LATER = ("label", "teacher_prediction", "teacher_share")
WATCHES = {
    "numbers": "input.age", "categories": "input.place", "embeddings": "vector",
    "confidence": "confidence", "errors": "error_stream", "agreement": "agreement",
    "accuracy": "accuracy", "quality": "quality.missing", "traffic": "volume",
}  # fmt: skip
#: Detectors of one kind that are asked under a signal of their own name.
OWN = {"calibration", "estimated_accuracy", "whose_fault", "latency"}


@pytest.fixture(scope="module")
def fitted() -> Baseline:
    return baseline()


def of(table: pa.Table, fitted: Baseline) -> Sums:
    return count(View.of(table, fitted), fitted)


def close(one: Any, two: Any) -> bool:
    """Equal, floats to rounding."""
    if isinstance(one, Mapping):
        return set(one) == set(two) and all(close(one[name], two[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(two) and all(map(close, one, two))
    if isinstance(one, float):
        return one == pytest.approx(two, rel=1e-9, abs=1e-9)
    return bool(one == two)


def without_sums_of_floats(sums: Sums) -> dict[str, Any]:
    """What is packed as text is compared as it is, but for sums of vectors."""
    said: dict[str, Any] = json.loads(json.dumps(sums.as_dict()))
    for name in ("total", "lifted"):
        said["sketches"].get("vector", {}).pop(name, None)
    return said


def test_rows_in_any_order_and_late_labels_add_up_to_the_same(fitted: Baseline) -> None:
    table = rows(600)
    whole = of(table, fitted)
    chance = np.random.default_rng(1)
    shuffled = table.take(pa.array(chance.permutation(600)))
    parts = []
    for begin in range(0, 600, 150):
        part = shuffled.slice(begin, 150)
        bare = part
        for name in LATER:
            bare = bare.set_column(
                bare.schema.get_field_index(name), name, pa.nulls(150, bare.schema.field(name).type)
            )
        parts.append(of(bare, fitted))
        # First labels, then the teacher: each time the row as it is by then.
        labels = part.append_column("label_is_new", pa.array([True] * 150))
        labels = labels.append_column("answer_is_new", pa.array([False] * 150))
        for name in LATER[1:]:
            labels = labels.set_column(labels.schema.get_field_index(name), name, bare[name])
        answers = part.append_column("label_is_new", pa.array([False] * 150))
        answers = answers.append_column("answer_is_new", pa.array([True] * 150))
        parts += [later(View.of(one, fitted), fitted) for one in (labels, answers)]
    chance.shuffle(parts)
    found = merged(parts)
    assert close(without_sums_of_floats(found), without_sums_of_floats(whole))
    read = Sums.from_bytes(found.to_bytes())
    assert read.to_bytes() == found.to_bytes()
    assert scoring.score(found, fitted, scoring.Asked())["input.age"][0]["p"] == pytest.approx(
        scoring.score(whole, fitted, scoring.Asked())["input.age"][0]["p"]
    )


def test_sums_of_another_reference_are_not_mixed(fitted: Baseline) -> None:
    other = baseline(rows(2000, seed=5, shift=1.0))
    mine, theirs = of(rows(400), fitted), of(rows(100, first=400), other)
    for both in (mine.merge(theirs), theirs.merge(mine)):
        assert (both.rows, both.counted, both.reference) == (500, 400, fitted.key)
        assert both.tallies["accuracy"].rows == 500
    before = of(rows(50, first=900), Baseline.none(
        task="tabular-classification", labels=["a", "b", "c"], reads="columns", slices=[]
    ))  # fmt: skip
    both = before.merge(mine)
    assert (both.rows, both.counted, both.reference) == (450, 400, fitted.key)


@pytest.mark.parametrize("key", [one.key for one in DETECTORS])
def test_every_detector_scores_what_it_watches(key: str, fitted: Baseline) -> None:
    """In plain JSON, from sums alone; what it cannot tell from these it says."""
    sums = of(rows(500, shift=0.5), fitted)
    for watched in DETECTORS[key].watches:
        signal = key if key in OWN else WATCHES[watched]
        if issubclass(DETECTORS[key], StreamDetector) and watched not in ("errors", "agreement"):
            continue
        if issubclass(DETECTORS[key], StreamDetector):
            signal = "error_stream" if watched == "errors" else "disagreement_stream"
        asked = scoring.Asked(
            detectors={signal: [{"kind": key}]},
            volumes=[[500.0, 510, 480, 505, 500, 490]],
            latencies=[40.0] * 8,
        )
        found = scoring.score(sums, fitted, asked)
        assert json.loads(json.dumps(found)) == found
        (one,) = found[signal]
        assert one["detector"] == key
        assert (one["value"] is None) == bool(one["said"])
        if "sketches" in DETECTORS[key].takes or DETECTORS[key].takes[0] != "rows":
            assert one["value"] is not None, one["said"]


def test_defaults_are_detectors_that_watch_their_kind() -> None:
    for kind, keys in defaults.DETECTORS.items():
        for key in keys:
            assert key in DETECTORS, (kind, key)
    assert signals.detectors_of("input.age", "numbers", {"input.age": []}) == []
    (chosen,) = signals.detectors_of(
        "input.age", "numbers", {"numbers": [{"kind": "kolmogorov_smirnov", "gone": 1}]}
    )
    assert chosen.key == "kolmogorov_smirnov"


def test_few_rows_say_nothing_but_of_volume(fitted: Baseline) -> None:
    asked = scoring.Asked(minimum_rows=50, volumes=[[500.0] * 6])
    found = scoring.score(of(rows(20, shift=3), fitted), fitted, asked)
    assert found["input.age"][0]["corrected"] is None
    assert "20 rows are fewer than the 50" in found["input.age"][0]["said"]
    assert found["volume"][0]["corrected"] < 1e-6
    empty = scoring.score(Sums(), fitted, asked)
    assert empty["volume"][0]["value"] == 0
    assert all(
        one["said"] for many in empty.values() for one in many if many is not empty["volume"]
    )


def test_streams_go_on_over_looks_and_ring_in_a_window_that_is_open(fitted: Baseline) -> None:
    still, worse = rows(1500, seed=3), rows(1500, seed=4, first=1500)
    wrong = pa.array(["a" if one == "b" else "b" for one in worse["prediction"].to_pylist()])
    worse = worse.set_column(worse.schema.get_field_index("label"), "label", wrong)
    table = pa.concat_tables([still, worse])
    view = View.of(table, fitted)
    windows = table["window"].to_pylist()
    at_once, states = streams.follow(streams.values(view, windows, later=False), {}, {}, None)
    assert [number for number in at_once if number >= 3]
    assert not [number for number in at_once if number < 3]
    assert at_once[3].rang["error_stream/adwin"]["rose"] > 0.3

    kept: dict[str, Any] = {}
    rang: dict[int, Sums] = {}
    for begin in range(0, 3000, 300):
        part = table.slice(begin, 300)
        found = streams.values(View.of(part, fitted), windows[begin : begin + 300], later=False)
        new, kept = streams.follow(found, json.loads(json.dumps(kept)), {}, None)
        for number, one in new.items():
            rang[number] = rang.get(number, Sums()).merge(one)
    assert kept == states
    assert {number: one.rang for number, one in rang.items()} == {
        number: one.rang for number, one in at_once.items()
    }
    late, _ = streams.follow(streams.values(view, windows, later=False), {}, {}, 40)
    assert set(late) == {40}
    sums = of(rows(10), fitted).merge(late[40])
    (told,) = scoring.score(sums, fitted, scoring.Asked())["error_stream"]
    assert (told["corrected"], told["facts"]["rang"]) == (
        0.0,
        sums.rang["error_stream/adwin"]["times"],
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"where": ["age:from:50"]}, lambda row: row["age"] >= 50),
        ({"where": ["input.age:to:30", "place:is:north"]},
         lambda row: row["age"] <= 30 and row["place"] == "north"),
        ("place:not:west", lambda row: row["place"] != "west"),
        ({"where": ["place:contains:OU"]}, lambda row: "ou" in row["place"]),
        ({"where": ["tags.country:is:de"]}, lambda row: row["country"] == "de"),
        ({"where": ["confidence:from:0.7"]}, lambda row: row["top"] >= 0.7),
        ({"where": ["prediction:is:a"]}, lambda row: row["prediction"] == "a"),
        ({"label": "b"}, lambda row: row["label"] == "b"),
        ({"q": "NORTH"}, lambda row: row["place"] == "north"),
        ({"q": "NORTH", "match_case": True}, lambda row: False),
        ({"q": "n.rth", "regex": True}, lambda row: row["place"] == "north"),
        ({"q": "(", "regex": True}, lambda row: False),
        ({"where": ["nothing:is:1"]}, lambda row: False),
        ({"where": ["nothing:missing"]}, lambda row: True),
        ({"where": ["no condition"]}, lambda row: False),
        ({"unlabelled": True}, lambda row: False),
        ({"length_from": 3}, lambda row: False),  # of a table there is no length
    ],
)  # fmt: skip
def test_slices_mean_what_conditions_say(query: Any, expected: Any, fitted: Baseline) -> None:
    table = rows(200)
    view = View.of(table, fitted)
    told = [
        json.loads(cells) | json.loads(tags) | {"top": max(top), "prediction": said, "label": label}
        for cells, tags, top, said, label in zip(
            *(table[one].to_pylist() for one in
              ("cells", "tags", "probabilities", "prediction", "label")), strict=True
        )
    ]  # fmt: skip
    assert conditions.chosen(view, query).tolist() == [bool(expected(one)) for one in told]


def test_slices_have_accuracy_and_scores_of_their_own(fitted: Baseline) -> None:
    sums = of(rows(800, shift=0.5), fitted)
    told = scoring.slices(sums, fitted, scoring.Asked())["old"]
    assert told["rows"] == sums.slices["old"].rows > 200
    assert told["facts"]["accuracy"]["rows"] == told["rows"]
    assert {"prediction", "confidence", "accuracy", "agreement"} <= set(told["scores"])
    assert told["scores"]["accuracy"][0]["p"] > 1e-3


def test_a_cell_that_says_that_there_is_nothing_is_missing_as_it_is_in_a_dataset(
    fitted: Baseline,
) -> None:
    said = [" north ", "?", "N/A", "null", ""]
    table = rows(500, cells=[json.dumps({"age": 40, "place": said[at % 5]}) for at in range(500)])
    found = scoring.score(of(table, fitted), fitted, scoring.Asked())
    worst = {name: found[f"quality.{name}"][0]["facts"]["worst"] for name in ("missing", "unseen")}
    assert worst["missing"] == {"input.place": pytest.approx(0.8)}
    assert "input.place" not in worst["unseen"]


@pytest.mark.parametrize(
    ("many", "each", "is_worse"),
    [(3, 1, False), (400, 1, False), (10**9, 1, False), (10**9, 3, True)],
)
def test_more_rows_repeat_more_by_chance_and_a_larger_window_is_no_worse_for_it(
    many: int, each: int, is_worse: bool
) -> None:
    chance = np.random.default_rng(5)

    def drawn(of_them: int) -> list[str]:
        return [json.dumps({"age": int(one)}) for one in chance.integers(many, size=of_them)]

    few = baseline(rows(300, cells=drawn(300)), slices=[])
    found = scoring.score(
        of(rows(3000, cells=drawn(3000 // each) * each), few), few, scoring.Asked()
    )
    assert (found["quality.duplicated"][0]["p"] < 0.001) == is_worse


def test_what_is_wrong_with_data_is_found_in_one_column(fitted: Baseline) -> None:
    table = rows(500)
    cells = [json.loads(one) for one in table["cells"].to_pylist()]
    for at, one in enumerate(cells):
        if at % 10 == 0:
            one["age"] = None
        if at % 20 == 1:
            one["place"] = "moon"
        if at % 50 == 2:
            one["age"] = 900
    broken = table.set_column(
        table.schema.get_field_index("cells"), "cells", pa.array([json.dumps(one) for one in cells])
    )
    twice = pa.concat_tables([broken, broken.slice(0, 100)])
    found = scoring.score(of(twice, fitted), fitted, scoring.Asked())
    expected = {
        "missing": ("input.age", 60 / 600), "unseen": ("input.place", 30 / 600),
        "out_of_range": ("input.age (high)", 12 / 540), "duplicated": ("rows", 154 / 600),
    }  # fmt: skip
    for fault, (column, share) in expected.items():
        (one,) = found[f"quality.{fault}"]
        assert (one["facts"]["column"], one["value"]) == (column, pytest.approx(share))
        assert one["corrected"] < 1e-3
    sound = scoring.score(of(table, fitted), fitted, scoring.Asked())
    assert all(sound[f"quality.{fault}"][0]["corrected"] > 0.05 for fault in expected)


def test_how_many_contents_differ_merges_exactly() -> None:
    contents = [f"text {one % 3000}".encode() for one in range(5000)]
    whole = Distinct.of(contents)
    parts = [Distinct.of(contents[at : at + 700]) for at in range(0, 5000, 700)]
    found = parts[3]
    for one in (*parts[:3], *parts[4:]):
        found = one.merge(found)
    assert found == whole
    assert whole.different == pytest.approx(3000, rel=0.1)
    assert 1500 < whole.repeated < 2100
    assert Distinct.of(contents[: MOST // 2]).repeated == 0
    assert Distinct.from_dict(json.loads(json.dumps(whole.as_dict()))) == whole


def test_volume_knows_hours_of_the_day_and_rings_rarely() -> None:
    chance = np.random.default_rng(0)
    day = 500 + 400 * np.sin(np.arange(24) / 24 * 2 * np.pi)
    counts = chance.negative_binomial(50, 50 / (50 + np.tile(day, 60)))
    history: list[Any] = [
        {"number": at, "rows": int(rows_), "p95": None} for at, rows_ in enumerate(counts)
    ]
    detector: Any = DETECTORS["volume"]()
    ps = [
        detector.score(usual.volumes(history[max(0, at - 840) : at], at, 1.0), counts[at]).p
        for at in range(24 * 30, 24 * 40)
    ]
    assert 0.0005 < np.mean(np.array(ps) < 0.01) < 0.03
    at = 24 * 40 + 6  # at noon of that day, when 900 are usual
    before = usual.volumes(history[:at], at, 1.0)
    assert detector.score(before, 0).p < 1e-4
    assert detector.score(before, 0).effect > 8
    assert detector.score(before, 500).effect == pytest.approx(0.85, abs=0.2)
    assert usual.volumes(history[:20], 20, 0.7) == [[float(one["rows"]) for one in history[:20]]]
    outage = [{**one, "rows": 0} if 700 < one["number"] < 710 else one for one in history]
    assert detector.score(usual.volumes(outage[:at], at, 1.0), 0).p < 1e-4
    assert not detector.score([[]], 10).known
    assert detector.score([[100.0] * 24], 100).p > 0.5  # as Poisson's, though they never vary
    assert detector.score([[0.0] * 24], 0).p == 1.0
    assert detector.score([[0.0] * 24], 5).p < 1e-6


def test_latency_rings_for_slower_answers_alone() -> None:
    chance = np.random.default_rng(0)
    p95 = 2 ** chance.normal(6, 0.2, 500)
    detector: Any = DETECTORS["latency"]()
    ps = [detector.score(p95[at - 48 : at], p95[at]).p for at in range(48, 500)]
    assert np.mean(np.array(ps) < 0.01) < 0.03
    assert detector.score(p95[:48], 200.0).p < 1e-6
    assert detector.score(p95[:48], 200.0).effect == pytest.approx(1.5, abs=0.25)
    assert detector.score(p95[:48], 20.0).p > 0.99
    assert not detector.score(p95[:3], 20.0).known


def test_rows_without_a_reference_are_counted_alone() -> None:
    bare = Baseline.none(task="tabular-classification", labels=[], reads="columns", slices=[])
    sums = of(rows(100), bare)
    assert (sums.rows, sums.counted, sums.sketches) == (100, 0, {})
    assert sums.latency.rows == 100
    found = scoring.score(sums, bare, scoring.Asked(volumes=[[100.0] * 6]))
    assert found["volume"][0]["corrected"] == 1.0
    assert list(counting.by_window(rows(0))) == []


def test_windows_that_nothing_fell_into_have_numbers(fitted: Baseline) -> None:
    numbers = [number for number, _ in counting.by_window(rows(1200))]
    assert all(two - one == 1 for one, two in pairwise(numbers))


def test_what_a_look_wants_is_asked_once_and_not_for_ever(tmp_path: Path) -> None:
    (tmp_path / "given-1.json").write_text(
        json.dumps({"windows": {"7": {"path": "w", "rows": 3, "late_rows": 0, "judged": True}},
                    "files": {}})
    )  # fmt: skip
    (tmp_path / "w").write_bytes(b"sums")
    (tmp_path / "given-2.json").write_text(
        json.dumps({"windows": {}, "files": {"a": "w", "b": None}})
    )
    wants = Wants(tmp_path, patience=0.05)
    first = wants.windows([7, 8])
    assert first[8] is None
    assert first[7] is not None
    assert (first[7].sums, first[7].judged) == (b"sums", True)
    assert wants.windows([8, 7]) == first
    assert wants.files(["a", "b", "a"]) == {"a": tmp_path / "w", "b": None}
    assert json.loads((tmp_path / "wants-1.json").read_text())["windows"] == [7, 8]
    with pytest.raises(Unanswered):
        wants.files(["c"])


def of_numbers(many: int, *, seed: int, first: int = 0, off: float = 0.0) -> pa.Table:
    """Rows of a model that answers a number, `off` from its label and from its teacher's."""
    chance = np.random.default_rng(seed)
    answers = chance.normal(10, 2, many)
    table = rows(many, seed=seed, first=first).drop_columns(["probabilities", "vector"])
    said = {
        "prediction": answers,
        "label": answers + chance.normal(off, 1, many),
        "teacher_prediction": answers + chance.normal(off, 0.5, many),
    }
    for name, values in said.items():
        texts = pa.array([str(one) for one in values.tolist()])
        table = table.set_column(table.schema.get_field_index(name), name, texts)
    return table.append_column("number", pa.array(answers))


def test_numbers_have_errors_and_differences_from_the_teacher() -> None:
    fitted = baseline(of_numbers(2000, seed=1), labels=[])
    sums = of(of_numbers(500, seed=2, off=3.0), fitted)
    found = scoring.score(sums, fitted, scoring.Asked())
    for name in ("error", "difference"):
        assert found[name][0]["corrected"] < 1e-6
    assert found["prediction"][0]["corrected"] > 0.05
    assert found["disagreement_stream"][0]["value"] == pytest.approx(3.0, abs=0.2)
    assert not {"accuracy", "agreement", "confidence"} & set(found)
    # Labels that come after another reference was fitted count as labels, and no more.
    other = baseline(of_numbers(1000, seed=3), labels=[])
    late = of_numbers(50, seed=4)
    late = late.append_column("label_is_new", pa.array([True] * 50))
    late = late.append_column("answer_is_new", pa.array([False] * 50))
    both = sums.merge(later(View.of(late, other), other))
    assert (both.reference, both.labelled, both.errors.rows) == (fitted.key, 550, 550)
    assert both.sketches["error"].rows == 500


@pytest.mark.parametrize(
    "query", [{"length_from": "many"}, {"length_to": {}}, {"where": 5}, {"where": "age"}]
)
def test_a_slice_that_cannot_be_understood_holds_no_row_and_ends_no_look(
    fitted: Baseline, query: Any
) -> None:
    assert not conditions.chosen(View.of(rows(20), fitted), query).any()


def test_names_without_end_take_no_room_in_a_window(fitted: Baseline) -> None:
    told = [f"{one:04d}" + "x" * 20_000 for one in range(500)]
    sums = of(rows(500, prediction=pa.array(told)), fitted)
    assert len(json.dumps(facts.of(sums, fitted))) < 100_000


@pytest.mark.parametrize("mode", ["raw", "redacted", "hashed", "described"])
def test_names_that_are_new_are_kept_as_rows_are(fitted: Baseline, mode: str) -> None:
    new = ["erika@example.org", "otto@example.org"] * 10
    table = rows(20, cells=[json.dumps({"age": 40, "place": one}) for one in new])
    sums = keeping.names_kept(of(table, fitted), {"privacy": mode, "labels": ["a"]})
    told = facts.of(sums, fitted)
    kept = {"raw": dict.fromkeys(new, 10), "redacted": {"[e-mail]": 20}}.get(mode)
    assert told.get("unseen_names", {}).get("input.place") == kept
    assert told["unseen"]["input.place"] == 1
    assert b"erika" not in zlib.decompress(sums.to_bytes()) or mode == "raw"
