"""The rows that a run was judged by: found, ordered, told on its page and by REST, and sent on."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.test import Client
from django.urls import reverse

from distillhub.lib import storage
from projects.models import DatasetVersion, PendingEdits, Project, ReviewQueue, User
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.conftest import sentences
from tests.training.test_run_pages import evaluated, page
from training.charts import confusions
from training.models import Artifact, Run
from training.services import fidelity, predicted_rows, prediction_csv
from training.services.predicted_rows import Asked

LABELS = ["account", "billing", "delivery"]


def keep(run: Run, folder: Path, table: dict[str, Any]) -> None:
    path = folder / f"{run.number}.parquet"
    pq.write_table(pa.table(table), path)
    blob = storage.put(path)
    Artifact.objects.create(
        run=run, kind="predictions", name="predictions.parquet", sha256=blob.sha256,
        bytes=blob.bytes,
    )  # fmt: skip


def answers(rows: list[dict[str, Any]], wrong: int, theirs: int) -> dict[str, Any]:
    """The student is wrong about the first `wrong` rows and the teacher about every `theirs`th; the
    later a row the further they are apart."""
    other = dict(zip(LABELS, [*LABELS[1:], LABELS[0]], strict=True))
    labels = [one["label"] for one in rows]
    ours = [other[one] if at < wrong else one for at, one in enumerate(labels)]
    taught = [other[one] if at % theirs == 0 else one for at, one in enumerate(labels)]
    many = len(rows)

    def chances(said: list[str], sure: float) -> list[list[float]]:
        return [[sure if name == one else (1 - sure) / 2 for name in LABELS] for one in said]

    def nll(said: list[str], sure: float) -> list[float]:
        pairs = zip(said, labels, strict=True)
        return [-math.log(sure if one == true else (1 - sure) / 2) for one, true in pairs]

    return {
        "row_id": [one["row_id"] for one in rows],
        "split": ["test"] * many,
        "label": labels,
        "student": ours,
        "student_confidence": [0.8] * many,
        "teacher": taught,
        "teacher_confidence": [0.9] * many,
        "student_nll": nll(ours, 0.8),
        "student_value": [float(one == two) for one, two in zip(ours, labels, strict=True)],
        "teacher_nll": nll(taught, 0.9),
        "teacher_value": [float(one == two) for one, two in zip(taught, labels, strict=True)],
        "kl": [at / 10 for at in range(many)],
        "classes": [[0, 1, 2]] * many,
        "student_probabilities": chances(ours, 0.8),
        "teacher_probabilities": chances(taught, 0.9),
        "characters": [float(len(one["text"])) for one in rows],
    }


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    return [one for one in sentences(300) if one["split"] == "test"]


@pytest.fixture
def run(dataset: DatasetVersion, project: Project, tmp_path: Path, rows: list[Any]) -> Run:
    made = make.distillation(project)
    control = made.controls.get()
    Run.objects.filter(project=project).update(dataset_version=dataset)
    assert dataset.labels == LABELS
    keep(made, tmp_path, answers(rows, wrong=4, theirs=5))
    keep(control, tmp_path, answers(rows, wrong=8, theirs=5))
    evaluated(made, tmp_path)
    made.refresh_from_db()
    return made


def ids(run: Run, **asked: Any) -> list[int]:
    return predicted_rows.of(run, Asked(**asked)).row_ids()


def test_rows_are_found_by_who_is_right(run: Run, rows: list[Any]) -> None:
    every = [one["row_id"] for one in rows]
    ours, theirs = set(every[:4]), set(every[::5])
    expected = {
        "lost": ours - theirs,
        "beat": theirs - ours,
        "both_wrong": ours & theirs,
        "both_right": set(every) - ours - theirs,
        "disagree": ours ^ theirs,
        "student_wrong": ours,
        "teacher_wrong": theirs,
        "control_right": set(),
        "control_wrong": set(every[4:8]),
    }
    found = predicted_rows.of(run)
    assert list(found.shows) == list(expected)
    for show, wanted in expected.items():
        assert set(ids(run, show=show)) == wanted, show
    assert found.counts() == {show: len(wanted) for show, wanted in expected.items()}


def test_rows_come_in_the_order_that_is_asked_for(run: Run, rows: list[Any]) -> None:
    every = [one["row_id"] for one in rows]
    assert ids(run) == every[::-1]  # the furthest apart first
    assert ids(run, order="divergence") == every
    assert ids(run, order="-row_id") == sorted(every, reverse=True)
    lost = set(ids(run, show="lost"))
    assert set(ids(run, order="-gap")[: len(lost)]) == lost
    sizes = {one["row_id"]: len(one["text"]) for one in rows}
    ordered = [sizes[one] for one in ids(run, order="size")]
    assert ordered == sorted(ordered)


def test_rows_are_found_by_labels_answers_words_and_sizes(run: Run, rows: list[Any]) -> None:
    right = {one["row_id"] for one in rows if one["label"] == "billing"}
    assert set(ids(run, label="billing")) == right
    other = {"label": "billing", "student": "delivery"}
    assert set(ids(run, **other)) == right & set(ids(run, show="student_wrong"))
    other = {"label": "billing", "teacher": "delivery"}
    assert set(ids(run, **other)) == right & set(ids(run, show="teacher_wrong"))
    word = rows[0]["text"].split()[0].lower()
    with_word = {one["row_id"] for one in rows if word in one["text"].lower()}
    assert set(ids(run, q=word)) == with_word
    sizes = sorted(len(one["text"]) for one in rows)
    some = {one["row_id"] for one in rows if sizes[3] <= len(one["text"]) <= sizes[20]}
    assert set(ids(run, size_from=sizes[3], size_to=sizes[20])) == some


def test_a_row_is_told_with_probabilities_side_by_side(run: Run, rows: list[Any]) -> None:
    first = next(
        one for one in predicted_rows.of(run).every() if one["row_id"] == rows[1]["row_id"]
    )
    assert first["input"] == rows[1]["text"]
    assert (first["student"]["right"], first["teacher"]["right"]) == (False, True)
    true = next(one for one in first["probabilities"] if one["is_true"])
    assert true["label"] == rows[1]["label"]
    assert true["student"] == pytest.approx(0.1)
    assert true["teacher"] == pytest.approx(0.9)
    assert first["gap"] == pytest.approx(0.8)
    assert first["control"]["right"] is False


def test_rest_pages_through_the_rows_and_refuses_what_it_does_not_know(
    run: Run, vera: User, rows: list[Any]
) -> None:
    api = api_of(vera)
    address = reverse("api_run_predictions", args=[run.project.slug, run.number])
    seen: list[int] = []
    following: str | None = f"{address}?limit=10&order=row_id"
    while following:
        answer = api.get(following).json()
        seen += [one["row_id"] for one in answer["results"]]
        following = answer["next"]
    assert seen == sorted(one["row_id"] for one in rows)
    for query, field in (
        ("show=nobody", "show"), ("order=luck", "order"), ("colour=red", "colour"),
    ):  # fmt: skip
        refused = api.get(f"{address}?{query}")
        assert (refused.status_code, list(refused.json()["fields"])) == (400, [field])
    assert api.get(f"{address}?slice=none").status_code == 404


def test_the_same_comes_as_csv_without_formulas(run: Run, vera: User) -> None:
    address = reverse("api_run_predictions_csv", args=[run.project.slug, run.number])
    answer = api_of(vera).get(f"{address}?show=lost")
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    head, *lines = text.strip().split("\r\n")
    assert head.startswith("row_id,label,student,student_confidence,student_loss,student_right")
    assert len(lines) == len(ids(run, show="lost"))


def test_a_column_s_name_is_no_formula_either(run: Run) -> None:
    version = run.dataset_version
    assert version is not None
    version.columns = [*version.columns, {"name": "=1+1", "role": "feature", "type": "number"}]
    answer = prediction_csv.download(run=run, asked=Asked())
    text = b"".join(answer.streaming_content)  # type: ignore[arg-type]
    assert text.split(b"\r\n")[0].endswith(b",'=1+1")


def test_a_run_without_predictions_says_so(project: Project, vera: User) -> None:
    run = make.distillation(project)
    address = reverse("api_run_predictions", args=[project.slug, run.number])
    refused = api_of(vera).get(address)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_evaluated")
    assert "No rows" in page(signed_in(vera), run, "rows")


# Its page ----------------------------------------------------------------------------------------


def send(client: Client, run: Run, **fields: Any) -> Any:
    address = reverse("training:run_rows", args=[run.project.slug, run.number])
    return client.post(address, {"among": "tab=rows&show=lost", **fields})


def test_the_tab_shows_rows_with_bars_and_links_to_the_others(run: Run, erin: User) -> None:
    address = reverse("training:run_detail", args=[run.project.slug, run.number])
    shown = signed_in(erin).get(address, {"tab": "rows", "show": "lost"}).content.decode()
    assert "Student wrong, teacher right" in shown
    assert shown.count('name="row_id"') == 3
    assert 'class="of-teacher" style="width:90.00%"' in shown
    assert "Send to a review" in shown


def test_rows_are_sent_to_a_review_in_their_order(run: Run, erin: User) -> None:
    lost = ids(run, show="lost")
    answer = send(signed_in(erin), run, what="review", every="true", value="Look at these")
    queue = ReviewQueue.objects.get()
    assert answer.url == reverse("projects:review_work", args=[run.project.slug, queue.pk])
    assert queue.name == "Look at these"
    assert [one.row_id for one in queue.items.order_by("order")] == lost
    assert queue.items.first().said["teacher"] in LABELS  # type: ignore[union-attr]


def test_rows_become_changes_of_the_next_version(run: Run, erin: User) -> None:
    client = signed_in(erin)
    lost = ids(run, show="lost")
    send(client, run, what="tag", value="hard", row_id=lost[:2])
    send(client, run, what="leave_out", row_id=lost[2:3])
    send(client, run, what="teacher", row_id=lost[:1])
    changes = PendingEdits.objects.get().changes
    assert changes[0]["row_ids"] == lost[:2]
    assert changes[1] == {"row_ids": lost[2:3], "leave_out": True}
    said = {one["row_id"]: one["teacher"]["answer"] for one in predicted_rows.of(run).every()}
    assert changes[2] == {"row_id": lost[0], "label": said[lost[0]]}
    assert "3 changes, not yet a version" in page(client, run, "rows")


def test_rows_that_are_not_found_are_not_changed(run: Run, erin: User, vera: User) -> None:
    right = ids(run, show="both_right")
    send(signed_in(erin), run, what="tag", value="hard", row_id=right[:1])
    assert not PendingEdits.objects.exists()
    assert send(signed_in(vera), run, what="tag", value="x", every="true").status_code == 403


def test_rest_makes_a_review_of_rows_that_are_named(run: Run, erin: User, rows: list[Any]) -> None:
    address = reverse("api_run_reviews", args=[run.project.slug, run.number])
    named = [rows[5]["row_id"], rows[2]["row_id"]]
    made = api_of(erin).post(address, {"how": "named", "row_ids": named}, format="json")
    assert made.status_code == 201, made.content
    queue = ReviewQueue.objects.get()
    assert [one.row_id for one in queue.items.order_by("order")] == named
    strange = api_of(erin).post(address, {"how": "named", "row_ids": [0, 10**6]}, format="json")
    assert list(strange.json()["fields"]) == ["row_ids"]
    none = api_of(erin).post(address, {"how": "named"}, format="json")
    assert none.status_code == 400


# How faithful it is ------------------------------------------------------------------------------


def test_the_report_tells_fates_pairs_sizes_and_the_control(
    run: Run, vera: User, tmp_path: Path
) -> None:
    evaluated(run.controls.get(), tmp_path, taught=False)
    address = reverse("api_run_evaluation", args=[run.project.slug, run.number])
    told = api_of(vera).get(address).json()
    assert told["fates"]["lost"] == 3
    assert told["mixed_up"][0] == {
        "true": "no", "answered": "yes", "of": 5, "student": 1, "teacher": 1, "difference": 0.0,
    }  # fmt: skip
    assert told["control"]["confusion"] == [[4, 1], [0, 5]]
    assert told["sizes"] is None  # thirty rows are too few to be cut
    shown = page(signed_in(vera), run, "evaluation")
    for words in ("Student and teacher, row by row", "Most confused pairs", "Reliability, teacher"):
        assert words in shown
    assert "Difference" in shown


def test_sizes_are_parts_of_like_many_rows_with_everybodys_interval(
    dataset: DatasetVersion, project: Project, tmp_path: Path
) -> None:
    many = [one | {"split": "test", "row_id": at} for at, one in enumerate(sentences(300))]
    made = make.distillation(project)
    keep(made, tmp_path, answers(many, wrong=30, theirs=5))
    rows = predicted_rows.of(made).rows
    found = fidelity.sizes(rows)
    assert found is not None
    assert (found["unit"], found["metric"]) == ("characters", "accuracy")
    parts = found["parts"]
    assert sum(part["rows"] for part in parts) == 300
    assert all(one["to"] < other["from"] for one, other in itertools.pairwise(parts))
    for part in parts:
        low, high = part["student"]["interval"]
        assert low < part["student"]["value"] < high or part["student"]["value"] == 1
        assert part["control"] is None


FORMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "numbers": ("tabular-classification", "regression", {
        "label": ["1.5", "2", None], "student": ["1", "2", "3"], "teacher": ["1.4", "9", None],
        "student_value": [0.25, 0.0, None], "teacher_value": [0.01, 49.0, None],
    }),
    "several": ("text-classification", "multi_label", {
        "label": ["no|yes", "", None], "student": ["no", "", "yes"],
        "teacher": ["no|yes", "no", ""],
        "student_value": [0.0, 1.0, None], "teacher_value": [1.0, 0.0, None],
        "student_nll": [0.7, 0.1, None], "teacher_nll": [0.2, 0.9, None],
        "student_confidence": [0.8, 0.9, 0.7], "kl": [0.4, 0.1, 0.2],
        "classes": [[0, 1]] * 3, "student_probabilities": [[0.9, 0.2], [0.1, 0.1], [0.2, 0.8]],
        "teacher_probabilities": [[0.9, 0.8], [0.6, 0.1], None],
    }),
    "words": ("token-classification", "single_label", {
        "label": ["B-no O", "O O", None], "student": ["B-no B-no", "O O", "O O"],
        "teacher": ["B-no O", "O B-no", "O O"], "student_value": [0.5, 1.0, None],
        "teacher_value": [1.0, 0.5, None], "student_nll": [0.9, 0.1, None],
        "teacher_nll": [0.2, 0.8, None], "student_confidence": [0.8, 0.9, 0.7],
        "kl": [0.4, 0.1, 0.2], "words": [2.0, 2.0, 2.0],
    }),
    "writing": ("text-generation", "single_label", {
        "student_nll": [2.1, 1.9, 2.2], "teacher_nll": [1.8, 2.0, None],
        "student_value": [1.1, 1.0, 1.2], "tokens": [10, 20, 30], "characters": [20, 40, 60],
        "right_tokens": [3, 9, 8], "agreeing_tokens": [4.0, 9.0, 8.0], "kl": [0.2, 0.1, 0.3],
    }),
    "vectors": ("feature-extraction", "embedding", {
        "student": ["", "", ""], "teacher": ["", "", ""], "cosine": [0.9, 0.5, 0.7],
    }),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_kind_of_answer_has_its_rows_and_its_pages(
    form: str, project: Project, erin: User, tmp_path: Path
) -> None:
    task, problem, own = FORMS[form]
    run = make.distillation(project)
    version = make.dataset_version(project, task=task, labels=("B-no", "O"))
    run.task, run.dataset_version = task, version
    run.summary |= {"problem": problem}
    if form in ("numbers", "vectors", "writing"):
        for who in ("student", "teacher"):
            run.summary[who] = {**run.summary[who], "rmse": 1.0, "perplexity": 3.0}
    run.save()
    nothing: list[None] = [None] * 3
    columns: tuple[str, ...] = (
        "label",
        "student",
        "teacher",
        "student_confidence",
        "teacher_confidence",
    )
    columns += ("student_nll", "student_value", "teacher_nll", "teacher_value")
    words = ("label", "student", "teacher")
    table = {
        "row_id": pa.array([3, 7, 9], pa.int64()),
        "split": ["test"] * 3,
        **{
            name: pa.array(own.get(name, nothing), pa.string() if name in words else pa.float64())
            for name in columns
        },
        **{name: values for name, values in own.items() if name not in columns},
    }
    keep(run, tmp_path, table)
    report = run.summary | {"labels": [], "slices": [], "examples": [], "problem": problem}
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(report))
    blob = storage.put(path)
    Artifact.objects.create(
        run=run, kind="evaluation", name=path.name, sha256=blob.sha256, bytes=blob.bytes
    )
    client = signed_in(erin)
    found = predicted_rows.of(run)
    assert len(found) == 3
    assert found.rows.form == form
    for order in found.orders:
        assert len(ids(run, order=f"-{order}")) == 3
    for show in found.shows:
        assert "row 3" in page(client, run, "rows") or show
        ids(run, show=show)
    first = found.order
    assert first == "-divergence"
    assert "row 7" in page(client, run, "rows")
    for tab in ("evaluation", "lens"):
        assert page(client, run, tab)
    api = api_of(erin)
    for name in ("api_run_predictions", "api_run_evaluation", "api_run_lens"):
        answer = api.get(reverse(name, args=[project.slug, run.number]))
        assert answer.status_code == 200, answer.content


def test_of_numbers_the_far_off_are_found(project: Project, tmp_path: Path) -> None:
    run = make.distillation(project)
    run.summary |= {"problem": "regression"}
    run.save()
    far = [0.1] * 6 + [4.0, 9.0]
    table = {
        "row_id": list(range(8)), "split": ["test"] * 8, "label": ["1"] * 8,
        "student": ["1"] * 8, "teacher": ["1"] * 8,
        "student_confidence": pa.array([None] * 8, pa.float64()),
        "teacher_confidence": pa.array([None] * 8, pa.float64()),
        "student_value": far, "teacher_value": [0.1] * 7 + [9.0],
    }  # fmt: skip
    keep(run, tmp_path, table)
    assert ids(run, show="lost") == [6]
    assert ids(run, show="both_wrong") == [7]


@pytest.mark.parametrize("tab", ["evaluation", "rows", "lens"])
def test_tabs_ask_the_database_little(
    run: Run, erin: User, tab: str, django_assert_max_num_queries: Any
) -> None:
    client = signed_in(erin)
    page(client, run, tab)
    with django_assert_max_num_queries(15):
        page(client, run, tab)


# Its lens ----------------------------------------------------------------------------------------


def test_the_lens_tells_terms_temperatures_and_that_nothing_stands_out(
    run: Run, vera: User
) -> None:
    shown = page(signed_in(vera), run, "lens")
    for words in ("Nothing stands out", "Soft targets", "nats", "What a temperature shows"):
        assert words in shown, words
    assert "&lt;b&gt;hello" in shown
    told = api_of(vera).get(reverse("api_run_lens", args=[run.project.slug, run.number])).json()
    soft, hard = told["terms"]
    assert (soft["kind"], soft["unit"], soft["temperature"]) == ("soft_targets", "nats", 4.0)
    assert (soft["first"], soft["last"]) == (pytest.approx(0.3), pytest.approx(0.03))
    assert hard["share_last"] is None
    assert told["temperature"]["most"] == pytest.approx(math.log(2))
    assert told["diagnoses"] == []


def test_the_lens_of_a_run_without_a_step_says_that_nothing_is_measured(
    project: Project, vera: User
) -> None:
    assert "Nothing measured yet" in page(signed_in(vera), make.run(project), "lens")


# Its confusion -----------------------------------------------------------------------------------


def test_the_difference_of_confusions_is_of_shares_and_short_on_the_page() -> None:
    apart = confusions.difference(["no", "yes"], [[4, 1], [0, 5]], [[5, 0], [1, 4]])["data"][0]
    assert apart["z"] == [[-0.2, 0.2], [-0.2, 0.2]]
    assert (apart["zmin"], apart["zmax"]) == (-0.2, 0.2)
    many = [[40 * (row == column) for column in range(77)] for row in range(77)]
    drawn = confusions.difference([f"class {one}" for one in range(77)], many, many)
    assert len(str(drawn)) < 30_000
