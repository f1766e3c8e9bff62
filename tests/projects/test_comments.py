"""Conversations: who may speak, whom a text mentions, what is shown of it, and what goes with what
it was about."""

import re

import pytest
from django.http import HttpResponse
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from projects.models import Comment, Event, Project, Role, User
from projects.services import comments, removal, subjects
from projects.services import projects as project_services
from projects.services.subjects import Subject
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Run
from training.services import run_removal


@pytest.fixture
def run(project: Project) -> Run:
    return make.run(project, number=1, name="small", status=Run.Status.FINISHED)


@pytest.fixture
def subject(project: Project, run: Run) -> Subject:
    return subjects.find(project=project, kind="run", reference="1")


def test_a_comment_is_kept_told_and_its_mentions_known(
    project: Project, subject: Subject, alice: User, vera: User, charlie: User
) -> None:
    text = "Look, @erin. @charlie cannot; mail@vera.org and `@vera` are nobody."
    made = comments.add(project=project, subject=subject, text=text, by=alice)
    assert [person.username for person in made.mentions.all()] == ["erin"]
    event = Event.objects.get(kind="comment.created")
    assert event.data == {"comment": made.pk, "text": text, "mentions": ["erin"]}
    assert event.sentence.startswith("alice said of run 1, small: Look, @erin.")
    shown = signed_in(alice).get(f"/p/{project.slug}/activity/").content.decode()
    assert "commented</span>" in shown
    assert "created</span>" not in shown  # the run was there before


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("@vera", ["vera"]),
        ("@vera. @erin!", ["vera", "erin"]),
        ("(@vera)", ["vera"]),
        ("@vera @vera", ["vera"]),
        ("a@vera", []),
        ("@@vera", []),
        ("/@vera", []),
        ("```\n@vera\n```\n@erin", ["erin"]),
        ("`@vera` ~~~\n@erin", []),
        ("@veras", []),
        ("@Vera", []),
    ],
)
def test_an_at_names_a_member(project: Project, text: str, named: list[str]) -> None:
    found = comments.mentions(project=project, text=text)
    assert [person.username for person in found] == named


def test_what_people_type_is_shown_and_never_carried_out() -> None:
    html = comments.rendered(
        "<script>x</script> **bold** @vera `@vera` [@vera](javascript:x) @<b>vera", people=["vera"]
    )
    assert "<script>" not in html
    assert "javascript:" not in html.replace("](javascript:x)", "")
    assert "<strong>bold</strong>" in html
    assert html.count('<span class="mention">@vera</span>') == 2  # not in code
    assert "<code>@vera</code>" in html


def test_people_change_and_delete_their_own_words_and_owners_delete_any(
    project: Project, subject: Subject, alice: User, erin: User, vera: User
) -> None:
    word = comments.add(project=project, subject=subject, text="Hm.", by=vera)
    editor, viewer, owner = api_of(erin), api_of(vera), api_of(alice)
    address = f"/api/v1/projects/{project.slug}/comments/{word.pk}/"
    assert editor.patch(address, {"text": "Mine."}).status_code == 403
    assert editor.delete(address).status_code == 403
    assert owner.patch(address, {"text": "Mine."}).status_code == 403
    answer = viewer.patch(address, {"text": "Well, @erin."})
    assert answer.status_code == 200
    assert (answer.json()["mentions"], answer.json()["edited_at"] is not None) == (["erin"], True)
    told = Event.objects.get(kind="comment.changed")
    assert told.data["mentions"] == ["erin"]
    viewer.patch(address, {"text": "Well, @erin!"})
    assert Event.objects.filter(kind="comment.changed").count() == 1  # she knows already
    assert owner.delete(address).status_code == 204
    assert viewer.get(address).status_code == 404
    [left] = viewer.get(f"/api/v1/projects/{project.slug}/comments/?subject=run/1").json()[
        "results"
    ]
    assert (left["text"], left["mentions"]) == ("", [])
    assert left["deleted_at"] is not None
    assert not [one for one in Event.objects.all() if "Well" in f"{one.sentence} {one.data}"]


def test_nothing_is_said_in_an_archived_project(
    project: Project, run: Run, vera: User, alice: User
) -> None:
    api_of(alice).delete(f"/api/v1/projects/{project.slug}/")
    address = f"/api/v1/projects/{project.slug}/comments/"
    answer = api_of(vera).post(address, {"subject": "run/1", "text": "Late."})
    assert (answer.status_code, answer.json()["code"]) == (409, "archived")
    assert not Comment.objects.exists()


@pytest.mark.parametrize(
    ("subject", "status"),
    [
        ("run/1", 201),
        ("run/2", 404),
        ("run/x", 404),
        ("run/99999999999999999999", 404),
        ("run/\x00", 400),
        ("run", 400),
        ("user/1", 400),
        ("incident/1", 400),
        ("dataset_version/none@1", 404),
        ("model_version/none", 404),
        (f"dataset_version/{'x' * 320}@1", 404),
    ],
)
def test_what_is_talked_about_must_be_there(
    project: Project, run: Run, vera: User, subject: str, status: int
) -> None:
    address = f"/api/v1/projects/{project.slug}/comments/"
    answer = api_of(vera).post(address, {"subject": subject, "text": "Hm."})
    assert answer.status_code == status, answer.json()


def test_too_long_or_empty_texts_and_too_many_mentions_are_refused(
    project: Project, run: Run, vera: User
) -> None:
    address = f"/api/v1/projects/{project.slug}/comments/"
    crowd = " ".join(f"@p{number}" for number in range(51))
    for text in ("", "   ", "x" * 10_001, crowd):
        answer = api_of(vera).post(address, {"subject": "run/1", "text": text})
        assert answer.status_code == 400
        assert "text" in answer.json()["fields"]


def test_a_page_holds_the_conversation_with_and_without_scripts(
    project: Project, run: Run, vera: User, erin: User
) -> None:
    pages = signed_in(vera)
    address = f"/p/{project.slug}/comments/"
    assert pages.post(address, {"subject": "run/1", "text": "Hello, @erin."}).headers[
        "Location"
    ] == (f"/p/{project.slug}/runs/1/#comments")
    part = pages.post(
        address, {"subject": "run/1", "text": "And more."}, headers={"HX-Request": "true"}
    ).content.decode()
    assert '<span class="mention">@erin</span>' in part
    assert "And more." in part
    assert "<html" not in part
    refused = pages.post(address, {"subject": "run/1", "text": " "}, headers={"HX-Request": "true"})
    assert "A comment has 1 to 10000 characters." in refused.content.decode()
    whole = signed_in(erin).get(f"{address}?subject=run/1").content.decode()
    assert "Hello" in whole
    assert "comment_edit" not in whole  # nothing of hers to change
    assert f"/comments/{Comment.objects.first().pk}/delete/" not in whole  # type: ignore[union-attr]


def test_a_conversation_costs_the_same_however_long(
    project: Project, subject: Subject, alice: User, django_assert_max_num_queries: object
) -> None:
    for number in range(30):
        comments.add(project=project, subject=subject, text=f"@erin {number}", by=alice)
    project.my_role = Role.OWNER
    with django_assert_max_num_queries(3):  # type: ignore[operator]
        thread = comments.thread(project=project, subject=subject, reader=alice)
    assert thread.count == 30


def test_a_page_that_stays_open_asks_for_what_is_new_at_the_cost_of_a_query(
    project: Project,
    subject: Subject,
    alice: User,
    vera: User,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    pages = signed_in(vera)
    address = f"/p/{project.slug}/comments/?subject=run/1"

    def look(tag: str) -> HttpResponse:
        script = {"HX-Request": "true", "If-None-Match": f'"{tag}"'}
        return pages.get(address, headers=script)  # type: ignore[return-value]

    def tag_of(answer: HttpResponse) -> str:
        found = re.search(r'data-tag="(\w+)"', answer.content.decode())
        assert found is not None
        return found[1]

    tag = tag_of(look("none"))
    with django_assert_num_queries(4):  # who asks, in what session, their role; what is new
        assert look(tag).status_code == 304
    word = comments.add(project=project, subject=subject, text="Hm.", by=alice)
    seen = [tag]
    for change in (
        lambda: None,
        lambda: comments.edit(comment=word, text="Well.", by=alice),
        lambda: comments.delete(comment=word, by=alice),
        lambda: project_services.change_role(project=project, user=vera, role="owner", by=alice),
    ):
        change()
        answer = look(seen[-1])
        assert answer.status_code == 200
        assert "no-store" in answer.headers["Cache-Control"]
        seen.append(tag_of(answer))
        assert look(seen[-1]).status_code == 304
    assert len(set(seen)) == 5
    assert (
        signed_in(alice).get(address, headers={"If-None-Match": f'"{seen[-1]}"'}).status_code == 200
    )


def test_words_go_with_what_they_were_about(
    project: Project, run: Run, subject: Subject, alice: User
) -> None:
    version = make.dataset_version(project, "intents")
    of_data = subjects.find(project=project, kind="dataset_version", reference="intents@1")
    comments.add(project=project, subject=subject, text="Of the run.", by=alice)
    comments.add(project=project, subject=of_data, text="Of the data.", by=alice)
    run_removal.delete(run=run)
    assert [one.text for one in Comment.objects.all()] == ["Of the data."]
    removal.delete_version(version=version, by=alice)
    assert not Comment.objects.exists()
    make.dataset_version(project, "intents")  # of the same name, with nothing said of it
    assert not comments.of(project=project, kind="dataset_version", reference="intents@1").exists()


def test_a_stranger_hears_and_says_nothing(project: Project, run: Run, charlie: User) -> None:
    client: Client = signed_in(charlie)
    address = f"/p/{project.slug}/comments/"
    assert client.get(f"{address}?subject=run/1").status_code == 404
    assert client.post(address, {"subject": "run/1", "text": "Hm."}).status_code == 404
