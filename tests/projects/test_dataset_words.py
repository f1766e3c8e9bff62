"""What the pages of datasets call things: splits as they are given, rows without labels, texts."""

import pytest

from projects.ingest import ingestion
from projects.models import Project, User
from projects.services import datasets, projects
from tests.conftest import signed_in
from tests.projects.test_dataset_shapes import mapping, staged
from tests.projects.test_dataset_versions import file_of, uploaded
from tests.projects.test_ingest_audio import sound
from tests.projects.test_ingest_images import archive

STORY = b"\n\n".join(b"Once upon a time number %d there was a story." % n for n in range(2000))


def test_splits_that_folders_give_are_told_before_anything_is_stored(
    project: Project, erin: User
) -> None:
    client = signed_in(erin)
    names = [("train", n) for n in range(9)] + [("test", n) for n in range(3)]
    content = archive(
        *((f"{split}/{'ab'[n % 2]}/{n}.wav", sound(0.1, hertz=300 + n)) for split, n in names)
    )
    page = client.get(mapping(staged(client, content.getvalue(), "d.zip"))).content.decode()
    assert "9 train, 3 test; validation (10 % of train) taken from train" in page
    assert "as its folders say" in page
    plain = archive(*((f"{'ab'[n % 2]}/{n}.wav", sound(0.1, hertz=300 + n)) for n in range(9)))
    page = client.get(mapping(staged(client, plain.getvalue(), "d.zip"))).content.decode()
    assert "Its folders say" not in page
    assert "Every label gets its share" in page


def test_rows_without_labels_are_a_remark_and_counted_where_they_are(
    project: Project, vera: User
) -> None:
    rows = b"".join(
        b"text %d,%s,train\n" % (n, b"ab"[n % 2 :][:1] if n < 20 else b"") for n in range(80)
    )
    rows += b"".join(b"val %d,a,validation\n" % n for n in range(10))
    version = uploaded(project, b"text,label,split\n" + rows, name="some")
    issue = next(one for one in version.issues if one["code"] == "missing_label")
    assert (issue["severity"], issue["count"]) == ("info", 60)
    assert version.issue_count == 0
    page = signed_in(vera).get("/p/intents/datasets/some/1/").content.decode()
    assert "20 of 80 labelled" in page


def test_a_running_text_has_no_labels_and_no_lines(project: Project, erin: User) -> None:
    client = signed_in(erin)
    upload = staged(client, STORY, "story.txt")
    page = client.get(mapping(upload)).content.decode()
    assert "Every label gets its share" not in page
    assert "divided in its order" in page
    version = datasets.upload(
        project=project, file=file_of(STORY, "story.txt"), name="story", task="text-generation",
        by=erin,
    )  # fmt: skip
    ingestion.ingest(version_id=version.pk)
    page = client.get("/p/intents/datasets/story/1/").content.decode()
    assert ">Characters</th>" in page
    assert ">Line</th>" not in page
    assert " labelled<" not in page
    assert "?tab=labels" not in page
    assert client.get("/p/intents/datasets/story/1/?tab=labels").status_code == 200
    assert ">number<" not in client.get("/p/intents/datasets/").content.decode()


@pytest.mark.django_db
def test_projects_of_one_name_are_told_apart_by_their_address(erin: User) -> None:
    projects.create(name="Tickets", by=erin)
    page = signed_in(erin).get("/").content.decode()
    assert ">tickets</span>" not in page
    projects.create(name="tickets", by=erin)
    page = signed_in(erin).get("/").content.decode()
    assert page.count(">tickets-2</span>") == 2  # in the list and in the switcher
