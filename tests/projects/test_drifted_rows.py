"""Reviews of rows that look least like those that a model knows."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rest_framework.test import APIClient
from sklearn.metrics import roc_auc_score

from projects.models import DatasetVersion, Project, User
from projects.services import drifted_rows
from tests.conftest import api_of, signed_in
from tests.projects import test_operations as changes
from tests.projects.test_dataset_versions import file_of
from tests.projects.test_reviews import BASE, begin, ids, take

KNOWN = ["cash", "card", "money", "bank", "pay", "loan", "rate", "fee"]
NEW = ["tracking", "satellite", "orbit", "rocket"]


TABLE = {
    "task": "tabular-classification",
    "columns": json.dumps({"features": ["size"], "label": "label"}),
}


def upload(client: APIClient, content: str, name: str = "words", **said: str) -> None:
    body = {"file": file_of(content.encode()), "name": name} | said
    made = client.post(changes.BASE, body, format="multipart")
    assert made.status_code == 201, made.data
    changes.make_all()


def table(rng: np.random.Generator, known: int, new: int) -> str:
    """Texts of words that are known, then of words of which half are not."""
    lines = ["text,label,split"]
    for place in range(known + new):
        words = rng.choice(KNOWN if place < known else KNOWN + NEW, 8)
        split = "train" if place < known // 2 else "test"
        lines.append(f"{' '.join(words)},{'yes' if place % 2 else 'no'},{split}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    client = api_of(erin)
    upload(client, table(np.random.default_rng(0), known=200, new=60))
    return client


def test_rows_unlike_the_training_rows_come_first(client: APIClient) -> None:
    queue = begin(client, how="drifted", many=20)
    assert queue["choice"]["reference"] == "words@1:train"
    assert queue["choice"]["separation"] > 0.6
    taken = take(client, queue["id"], many=20)
    assert sum(row >= 200 for row in ids(taken)) >= 18
    assert all(one["priority"] <= 1 for one in taken)
    assert all(one["row"]["split"] == "test" for one in taken)


def test_another_version_is_a_reference_as_well(client: APIClient) -> None:
    upload(client, table(np.random.default_rng(1), known=200, new=0), name="before")
    queue = begin(client, how="drifted", many=20, reference="before@1")
    assert queue["choice"]["reference"] == "before@1"
    assert sum(row >= 200 for row in ids(take(client, queue["id"], many=20))) >= 18


def test_where_nothing_drifted_there_is_nothing_to_review(client: APIClient) -> None:
    upload(client, table(np.random.default_rng(2), known=400, new=0), name="same")
    asked = {"dataset": "same", "how": "drifted"}
    refused = client.post(BASE, asked, format="json")
    assert refused.status_code == 400
    assert "as good as chance" in refused.json()["fields"]["reference"][0]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"reference": "nowhere@1"}, "There is no dataset"),
        ({"reference": "words@1"}, "name a split"),
        ({"reference": "words@1:dev"}, "A split is one of"),
        ({"reference": "table"}, "another shape"),
        ({"how": "first", "reference": "train"}, "Only drifted rows"),
        ({"conditions": {"label": "yes", "q": " 3"}}, "It takes 20 rows"),
    ],
)
def test_what_cannot_be_held_against_each_other_is_refused(
    client: APIClient, asked: dict[str, object], says: str
) -> None:
    numbers = "\n".join(["size,label", *(f"{n},{'ab'[n % 2]}" for n in range(40))])
    upload(client, numbers, name="table", **TABLE)
    refused = client.post(BASE, {"dataset": "words", "how": "drifted"} | asked, format="json")
    assert refused.status_code in (400, 404)
    assert says in str(refused.json())


def test_of_a_table_rows_with_other_numbers_and_words_come_first(
    client: APIClient, project: Project
) -> None:
    rng = np.random.default_rng(3)
    lines = ["size,kind,label,split"]
    for place in range(300):
        size = rng.normal(3.0 if place >= 250 else 0.0)
        lines.append(f"{size:.3f},{'old' if place < 250 else 'new'},a,{'train' * (place < 150)}")
        lines[-1] = lines[-1] if place < 150 else f"{lines[-1]}test"
    columns = json.dumps({"features": ["size", "kind"], "label": "label"})
    upload(client, "\n".join(lines), name="table", **TABLE | {"columns": columns})
    version = DatasetVersion.objects.get(dataset__name="table")
    reference = drifted_rows.reference_of(version, "")
    found = drifted_rows.look(version, np.arange(300), reference)
    is_new = found.rows >= 250
    assert roc_auc_score(is_new, found.probabilities) > 0.95


def test_separation_is_the_area_that_scikit_learn_tells() -> None:
    rng = np.random.default_rng(0)
    is_new = rng.integers(0, 2, 500)
    told = np.round(rng.random(500) + 0.2 * is_new, 1)  # with ties
    area, deviations = drifted_rows._separation(told, is_new)
    assert area == pytest.approx(roc_auc_score(is_new, told))
    assert deviations > 3


def test_the_form_offers_it(client: APIClient, erin: User, project: Project) -> None:
    browser = signed_in(erin)
    shown = browser.get(f"/p/{project.slug}/datasets/words/1/review/")
    assert b"Held against" in shown.content


def test_intents_that_nobody_trained_on_come_first(
    project: Project, erin: User, shared_data: Path
) -> None:
    """Real questions: the reference knows 40 intents, the rows are of these and 10 others."""
    whole = (shared_data / "banking77" / "train.csv").read_text()
    rows = list(csv.reader(io.StringIO(whole)))[1:]
    names = sorted({label for _, label in rows})
    known, other = set(names[:40]), set(names[40:50])
    some = [one for one in rows if one[1] in known]
    out = io.StringIO()
    written = csv.writer(out)
    written.writerow(["text", "category", "split"])
    written.writerows([*one, "train"] for one in some[::2][:1000])
    written.writerows([*one, "test"] for one in some[1::2][:1000])
    written.writerows([*one, "test"] for one in [one for one in rows if one[1] in other][:200])
    upload(api_of(erin), out.getvalue(), name="banking")
    version = DatasetVersion.objects.get(dataset__name="banking")
    found = drifted_rows.look(
        version, np.arange(version.rows), drifted_rows.reference_of(version, "")
    )
    first = found.rows[np.argsort(-found.probabilities)[:100]]
    assert (first >= 2000).mean() > 0.8  # of all that were looked at 17 per cent
