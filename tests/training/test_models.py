"""Teachers and students through the pages and through REST: one service behind both."""

import io
import json
import re
import zipfile
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from distillhub.lib import storage
from projects.models import ModelVersion, Project, RegisteredModel, User
from projects.services import registry
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.test_networks_upload import GOOD, packed
from training import catalog
from training.forms import run_choices
from training.forms.run_draft import Draft

BAG = {"kind": "architecture", "architecture": "bag_of_embeddings", "config": {"dim": 8}}
NEW = {"name": "tiny", "role": "student", "task": "text-classification", "source": BAG}


@pytest.fixture
def owner(alice: User, project: Project) -> APIClient:
    return api_of(alice)


@pytest.fixture
def alices(alice: User, project: Project) -> Client:
    return signed_in(alice)


def post(client: APIClient, **changes: Any) -> Any:
    return client.post("/api/v1/projects/intents/models/", NEW | changes)


def stored(content: bytes, name: str, folder: Any) -> dict[str, Any]:
    path = folder / name
    path.write_bytes(content)
    blob = storage.put(path)
    return {"name": name, "sha256": blob.sha256, "bytes": blob.bytes}


@pytest.fixture
def trained(project: Project, alice: User, tmp_path: Any) -> ModelVersion:
    version = registry.register(
        project=project,
        name="big",
        role="teacher",
        task="text-classification",
        source=BAG,
        by=alice,
    )
    return registry.add_version(
        model=version.model,
        source={"kind": "run", "run": 7},
        architecture="bag_of_embeddings",
        labels=["a", "b"],
        parameters=1234,
        size_bytes=5,
        files=[stored(b"{}", "config.json", tmp_path), stored(b"12345", "m.safetensors", tmp_path)],
        metrics={"test/accuracy": 0.9},
        status="ready",
        by=alice,
    )


# REST -----------------------------------------------------------------------------------------


def test_a_model_is_registered_with_every_option_resolved(owner: APIClient) -> None:
    answer = post(owner)
    assert answer.status_code == 201
    body = answer.json()
    assert (body["name"], body["version"], body["reference"]) == ("tiny", 1, "tiny@1")
    assert body["config"]["dim"] == 8
    assert body["config"]["max_length"] == 128  # the catalog's default
    assert body["created_by"] == "alice"
    assert owner.get("/api/v1/projects/intents/models/tiny/versions/1/").json() == body


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"name": ""}, "name"),
        ({"role": "professor"}, "role"),
        ({"task": "juggling"}, "task"),
        ({"source": {"kind": "dream"}}, "source.kind"),
        ({"source": {}}, "source.kind"),
        ({"source": []}, "source"),
        ({"source": BAG | {"architecture": "gpt-99"}}, "source.architecture"),
        ({"source": BAG | {"config": {"dim": 0}}}, "source.config.dim"),
        ({"source": BAG | {"config": {"dim": "many"}}}, "source.config.dim"),
        ({"source": BAG | {"config": {"wings": 2}}}, "source.config.wings"),
        ({"source": BAG | {"surprise": 1}}, "source.surprise"),
        ({"source": BAG | {"initialise_from": "nothing@1"}}, "source.initialise_from"),
        ({"source": {"kind": "hub", "id": "../../etc"}}, "source.id"),
        ({"source": {"kind": "hub", "id": "a/b", "revision": "--x"}}, "source.revision"),
        ({"source": {"kind": "run", "run": 99}}, "source.run"),
        ({"source": {"kind": "run", "run": True}}, "source.run"),
        ({"source": {"kind": "upload"}}, "file"),
    ],
)
def test_what_cannot_be_registered_is_told_at_its_field(
    owner: APIClient, changes: dict[str, Any], field: str
) -> None:
    answer = post(owner, **changes)
    assert answer.status_code == 400
    assert field in answer.json()["fields"], answer.json()
    assert not RegisteredModel.objects.exists()


def test_a_name_that_is_taken_is_a_conflict(owner: APIClient) -> None:
    post(owner)
    assert post(owner).status_code == 409


def test_the_same_key_registers_once(owner: APIClient) -> None:
    url = "/api/v1/projects/intents/models/"
    first = owner.post(url, NEW, headers={"Idempotency-Key": "k"})
    second = owner.post(url, NEW, headers={"Idempotency-Key": "k"})
    assert first.json() == second.json()
    assert RegisteredModel.objects.count() == 1


def test_a_zip_is_uploaded_as_multipart(owner: APIClient) -> None:
    sent = packed(GOOD)
    sent.name = "my model.zip"
    answer = owner.post(
        "/api/v1/projects/intents/models/",
        {"name": "mine", "role": "teacher", "task": "text-classification", "file": sent},
        format="multipart",
    )
    assert answer.status_code == 201, answer.json()
    assert answer.json()["source"] == {"kind": "upload", "file": "my model.zip"}
    assert [file["name"] for file in answer.json()["files"]] == sorted(GOOD)


def test_a_list_can_be_narrowed_to_a_role(owner: APIClient, trained: ModelVersion) -> None:
    post(owner)
    url = "/api/v1/projects/intents/models/"
    names = [
        [model["name"] for model in owner.get(url + asked).json()["results"]]
        for asked in ("", "?role=teacher", "?role=student")
    ]
    assert names == [["tiny", "big"], ["big"], ["tiny"]]
    assert owner.get("/api/v1/projects/intents/models/?role=x").status_code == 400


def test_an_alias_is_put_moved_and_removed(owner: APIClient, trained: ModelVersion) -> None:
    url = "/api/v1/projects/intents/models/big/aliases/production/"
    assert owner.put(url, {"version": 2}).json()["version"] == 2
    assert owner.get("/api/v1/projects/intents/models/big/versions/2/").json()["aliases"] == [
        "production"
    ]
    assert owner.put(url, {"version": 9}).status_code == 400
    assert owner.put(url, {"version": "x"}).status_code == 400
    assert owner.delete(url).status_code == 204
    assert owner.delete(url).status_code == 404


def test_files_come_one_by_one_and_as_a_zip(owner: APIClient, trained: ModelVersion) -> None:
    base = "/api/v1/projects/intents/models/big/versions/2"
    one = owner.get(f"{base}/files/m.safetensors")
    assert b"".join(one.streaming_content) == b"12345"  # type: ignore[attr-defined]
    assert one.headers["Content-Disposition"].startswith("attachment")
    assert one.headers["Content-Length"] == "5"
    whole = owner.get(f"{base}/download/")
    assert whole.headers["Content-Disposition"] == 'attachment; filename="big-2.zip"'
    content = b"".join(whole.streaming_content)  # type: ignore[attr-defined]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["README.md", "config.json", "m.safetensors"]
        assert archive.read("m.safetensors") == b"12345"
    assert owner.get(f"{base}/files/../secret_key").status_code == 404
    assert owner.get("/api/v1/projects/intents/models/big/versions/1/download/").status_code == 404


def test_another_project_has_none_of_it(trained: ModelVersion, charlie: User) -> None:
    stranger = api_of(charlie)
    for end in ("", "versions/2/", "versions/2/download/", "aliases/"):
        assert stranger.get(f"/api/v1/projects/intents/models/big/{end}").status_code == 404


def test_a_viewer_reads_and_changes_nothing(trained: ModelVersion, vera: User) -> None:
    viewer = api_of(vera)
    assert viewer.get("/api/v1/projects/intents/models/big/").status_code == 200
    assert post(viewer).status_code == 403
    url = "/api/v1/projects/intents/models/big/aliases/x/"
    assert viewer.put(url, {"version": 2}).status_code == 403


def test_only_the_description_of_a_model_changes(owner: APIClient, trained: ModelVersion) -> None:
    url = "/api/v1/projects/intents/models/big/"
    changed = owner.patch(url, {"description": "Good at intents.", "name": "x", "role": "student"})
    assert changed.json()["description"] == "Good at intents."
    assert (changed.json()["name"], changed.json()["role"]) == ("big", "teacher")


def test_weights_of_a_version_with_the_same_configuration_are_shared(
    owner: APIClient, alice: User, project: Project, trained: ModelVersion
) -> None:
    other = BAG | {"initialise_from": "big@2"}
    assert "source.initialise_from" in post(owner, source=other).json()["fields"]
    fresh = post(owner, name="fresh").json()
    ModelVersion.objects.filter(pk=trained.pk).update(config=fresh["config"])
    answer = post(owner, source=other)
    assert answer.status_code == 201
    assert answer.json()["files"] == trained.files
    assert answer.json()["source"]["initialise_from"] == "big@2"


# Pages ----------------------------------------------------------------------------------------


def form(**changes: Any) -> dict[str, Any]:
    return {
        "action": "register",
        "role": "student",
        "task": "text-classification",
        "name": "tiny",
        "source": "architecture",
        "architecture": "bag_of_embeddings",
        "applied.architecture": "bag_of_embeddings",
        "config.dim": "8",
    } | changes


def test_the_lists_say_what_to_do_when_they_are_empty(alices: Client) -> None:
    for role in ("teacher", "student"):
        page = alices.get(reverse(f"training:{role}_list", args=["intents"]))
        assert f"No {role} yet" in page.content.decode()


def test_the_best_version_is_the_one_that_validation_rows_prefer(
    project: Project, alices: Client
) -> None:
    make.model_version(project, "tiny", metrics={"val/accuracy": 0.9, "test/accuracy": 0.81})
    make.model_version(project, "tiny", metrics={"val/accuracy": 0.7, "test/accuracy": 0.88})
    page = alices.get(reverse("training:student_list", args=["intents"])).content.decode()
    assert "81.0 %" in page
    assert "accuracy of version 1, the best on validation rows" in page
    assert "88.0 %" not in page


def test_the_form_offers_the_options_of_the_chosen_architecture(alices: Client) -> None:
    url = reverse("training:model_new", args=["intents"])
    page = alices.post(url, form(action="refresh", task="image-classification")).content.decode()
    assert 'name="config.channels"' in page  # the small convnet, this task's default
    assert 'name="config.dim"' not in page
    page = alices.get(url, {"role": "teacher", "task": "text-classification"}).content.decode()
    assert 'name="config.vocabulary"' in page


def test_a_student_is_registered_by_the_form(alices: Client) -> None:
    answer = alices.post(reverse("training:model_new", args=["intents"]), form())
    version = ModelVersion.objects.get()
    assert answer["Location"].endswith("/models/tiny/1/")
    assert version.config["dim"] == 8
    page = alices.get(answer["Location"]).content.decode()
    assert "Being inspected" in page
    assert "every 2s" in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config.dim": "0"}, "between 1 and 4096"),
        ({"config.dim": "wide"}, "whole number"),
        ({"name": "a b"}, "letters, digits"),
        ({"source": "hub", "hub_id": "no id"}, "looks like"),
        ({"source": "upload"}, "zipped model folder"),
        ({"source": "run"}, "number of a finished run"),
    ],
)
def test_a_fault_stands_at_its_field(alices: Client, changes: dict[str, str], said: str) -> None:
    page = alices.post(reverse("training:model_new", args=["intents"]), form(**changes))
    assert page.status_code == 200
    assert said in page.content.decode()
    assert not RegisteredModel.objects.exists()


def test_a_pickle_is_refused_on_the_page_too(alices: Client) -> None:
    sent = packed(GOOD | {"pytorch_model.bin": b"x"})
    sent.name = "model.zip"
    page = alices.post(
        reverse("training:model_new", args=["intents"]), form(source="upload", file=sent)
    )
    assert "is a pickle" in page.content.decode()


def test_a_next_version_is_added_from_a_file(alices: Client, trained: ModelVersion) -> None:
    url = reverse("training:model_new", args=["intents"]) + "?model=big"
    assert "New version of big" in alices.get(url).content.decode()
    sent = packed(GOOD)
    sent.name = "model.zip"
    answer = alices.post(url, form(source="upload", file=sent, name="other", role="student"))
    assert answer["Location"].endswith("/models/big/3/")


def test_a_version_page_shows_where_it_came_from(alices: Client, trained: ModelVersion) -> None:
    page = alices.get(reverse("training:model_version", args=["intents", "big", 2]))
    text = page.content.decode()
    for shown in ("big@2", "1.23k", "90.0 %", "m.safetensors", trained.files[1]["sha256"], "Teach"):
        assert shown in text, shown


def test_what_people_wrote_is_text(alices: Client, alice: User, trained: ModelVersion) -> None:
    evil = "<script>alert(1)</script>"
    trained.labels, trained.source = [evil], {"kind": "upload", "file": evil}
    trained.save()
    registry.describe(model=trained.model, description=evil, by=alice)
    for url in (
        reverse("training:model_version", args=["intents", "big", 2]),
        reverse("training:model_detail", args=["intents", "big"]),
    ):
        assert evil not in alices.get(url).content.decode()


def test_aliases_are_set_and_removed_on_the_page(alices: Client, trained: ModelVersion) -> None:
    url = reverse("training:model_alias", args=["intents", "big", 2])
    assert alices.post(url, {"name": "production"}).status_code == 302
    assert list(trained.aliases.values_list("name", flat=True)) == ["production"]
    assert "cannot be called 7" in alices.post(url, {"name": "7"}).content.decode()
    assert alices.post(url, {"remove": "production"}).status_code == 302
    assert not trained.aliases.exists()


def test_a_viewer_sees_no_button_that_would_refuse(vera: User, trained: ModelVersion) -> None:
    viewer = signed_in(vera)
    page = viewer.get(reverse("training:model_version", args=["intents", "big", 2]))
    assert "Train it" not in page.content.decode()
    assert viewer.get(reverse("training:model_new", args=["intents"])).status_code == 403


def test_a_list_of_many_models_takes_no_more_queries(
    alices: Client, project: Project, alice: User, django_assert_max_num_queries: Any
) -> None:
    for index in range(12):
        registry.register(
            project=project, name=f"m{index}", role="student", task="text-classification",
            source=BAG, by=alice,
        )  # fmt: skip
    with django_assert_max_num_queries(12):
        alices.get(reverse("training:student_list", args=["intents"]))


def test_json_of_an_open_architecture_is_checked(alices: Client) -> None:
    more = json.dumps({"auto_map": {"AutoModel": "x.Y"}})
    page = alices.post(
        reverse("training:model_new", args=["intents"]),
        form(architecture="bert", more=more) | {"applied.architecture": "bert"},
    )
    assert "could load code" in page.content.decode()


def test_a_quick_size_fills_the_fields(alices: Client) -> None:
    url = reverse("training:model_new", args=["intents"])
    page = alices.get(url, {"role": "teacher", "task": "text-classification"}).content.decode()
    assert "Teacher-size" in page
    assert "about 2.56M" in page
    page = alices.post(url, form(action="size:teacher")).content.decode()
    assert re.search(r'name="config.dim"\s+value="256"', page)
    assert re.search(r'name="config.vocabulary"\s+value="10000"', page)


def test_a_model_page_begins_with_its_newest_version(alices: Client, trained: ModelVersion) -> None:
    page = alices.get(reverse("training:model_detail", args=["intents", "big"]))
    assert [row["version"].number for row in page.context["versions"]] == [2, 1]
    assert "?student=big@2" in page.content.decode()


# Made of a teacher ----------------------------------------------------------------------------


def made_of(**changes: Any) -> dict[str, Any]:
    return {"kind": "derived", "from": "big@2", "method": "narrow", "options": {}} | changes


def test_a_student_is_made_of_a_teacher_with_every_option_resolved(
    owner: APIClient, trained: ModelVersion
) -> None:
    answer = post(owner, source=made_of(**{"from": "big"}, options={"share": 0.25}))
    assert answer.status_code == 201, answer.json()
    body = answer.json()
    assert body["status"] == "inspecting"
    assert body["source"] == {
        "kind": "derived",
        "from": "big@2",  # what `big` meant on that day
        "method": "narrow",
        "options": {"share": 0.25},
    }
    again = owner.post(
        "/api/v1/projects/intents/models/tiny/versions/", {"source": made_of()}, format="json"
    )
    assert again.json()["source"]["options"] == {"share": 0.5}  # the catalog's default


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"from": ""}, "source.from", "Name the version"),
        ({"from": 7}, "source.from", "Name the version"),
        ({"from": "nothing@1"}, "source.from", "no model nothing@1"),
        ({"from": "big@1"}, "source.from", "still being inspected"),
        ({"from": "fresh@1"}, "source.from", "no weights yet"),
        ({"from": "pictures@1"}, "source.from", "is for image-classification"),
        ({"from": "run/9"}, "source.from", "no run 9"),
        ({"method": "melt"}, "source.method", "must be one of keep_layers"),
        ({"method": ["narrow"]}, "source.method", "must be one of keep_layers"),
        ({"method": "prune_heads"}, "source.method", "it has no attention"),
        ({"options": {"share": 2}}, "source.options.share", "between 0.01 and 0.99"),
        ({"options": {"wings": 2}}, "source.options.wings", "no such option"),
        ({"options": []}, "source.options", "an object"),
        ({"dataset": "nothing@1"}, "source.dataset", "no dataset version"),
        ({"dataset": 5}, "source.dataset", "Name a dataset"),
        ({"dataset": "faces@1"}, "source.dataset", "is for image-classification"),
        ({"dataset": "empty@1"}, "source.dataset", "no rows in its validation split"),
        ({"surprise": 1}, "source.surprise", "has no surprise"),
    ],
)
def test_what_cannot_be_made_of_a_teacher_is_told_at_its_field(
    owner: APIClient,
    project: Project,
    trained: ModelVersion,
    changes: dict[str, Any],
    field: str,
    said: str,
) -> None:
    make.model_version(project, "fresh")
    files = trained.files
    make.model_version(project, "pictures", task="image-classification", files=files)
    make.dataset_version(project, "faces", task="image-classification")
    make.dataset_version(project, "empty", splits={"train": {"rows": 5}})
    answer = post(owner, source=made_of(**changes))
    assert answer.status_code == 400
    assert said in answer.json()["fields"][field][0], answer.json()


def test_a_method_that_looks_at_no_data_takes_no_dataset(
    owner: APIClient, project: Project, trained: ModelVersion
) -> None:
    trained.architecture = "text_cnn"
    trained.save()
    version = make.dataset_version(project, "rows")
    refused = post(owner, source=made_of(method="low_rank", dataset=version.reference))
    assert "looks at no data" in refused.json()["fields"]["source.dataset"][0]
    answer = post(owner, source=made_of(method="prune_channels", dataset="rows"))
    assert answer.json()["source"]["dataset"] == "rows@1"


def derived_form(**changes: Any) -> dict[str, Any]:
    return form(source="derived", **{"from": "big@2", "method": "narrow"}) | changes


def test_the_form_offers_trained_versions_and_what_can_be_done_with_the_chosen_one(
    alices: Client, project: Project, trained: ModelVersion
) -> None:
    url = reverse("training:model_new", args=["intents"])
    asked = {"source": "derived", "role": "student", "task": "text-classification"}
    page = alices.get(url, asked).content.decode()
    assert re.search(r'value="big@2"\s*checked', page)
    assert "big@1" not in page  # it has no weights
    assert re.search(r'value="narrow"\s*checked', page)  # the first that can be done with a bag
    assert page.count("disabled") >= 3
    assert "Its only layer is the last one; make it narrower." in page
    assert 'name="options.share"' in page
    make.dataset_version(project, "words", task="text-classification")
    make.dataset_version(project, "faces", task="image-classification")
    page = alices.post(url, derived_form(action="refresh")).content.decode()
    assert "rows of words@1" in page
    assert "faces@1" not in page
    empty = alices.get(url, asked | {"task": "image-classification"}).content.decode()
    assert "No model of this task has weights yet" in empty


def test_what_must_come_first_is_told_before_anything_is_made(
    alices: Client, owner: APIClient, project: Project, trained: ModelVersion
) -> None:
    """After low rank, layers cannot be kept any more; heads and channels can be pruned."""
    trained.architecture = "bert"
    trained.config = {"altered": {"a": {"rank": 1}}}
    trained.save()
    answer = post(owner, source=made_of(method="keep_layers"))
    assert answer.status_code == 400
    assert "Keep layers must come first" in answer.json()["fields"]["source.method"][0]
    assert post(owner, source=made_of(method="prune_heads")).status_code == 201
    asked = {"source": "derived", "role": "student", "task": "text-classification"}
    page = alices.get(reverse("training:model_new", args=["intents"]), asked).content.decode()
    assert "It has factorised or pruned layers already. Do it with the version" in page
    assert re.search(r'value="low_rank"\s*checked', page)


def test_what_was_cut_out_of_a_version_has_not_been_trained(
    alices: Client, project: Project, trained: ModelVersion
) -> None:
    """It has weights, so it begins with the settings for those; but it teaches nobody."""
    small = make.model_version(
        project, "small", source=made_of(), files=trained.files, labels=trained.labels
    )
    assert not small.is_trained
    make.dataset_version(project, "words", labels=trained.labels)
    choice = run_choices.of(small)
    assert (choice.note, choice.has_weights) == ("made of big@2, not trained yet", True)
    draft = Draft.from_address(project, QueryDict("student=small@1&dataset=words@1"))
    assert "small@1" not in [one.reference for one in draft.teacher_choices]
    described = catalog.find("architectures", small.architecture)
    assert described is not None
    assert draft.suited == described["recommended_trained"]


def test_options_of_another_method_are_not_taken_over(
    alices: Client, trained: ModelVersion
) -> None:
    trained.architecture = "text_cnn"
    trained.save()
    url = reverse("training:model_new", args=["intents"])
    typed = {"options.share": "0.33", "applied.method": "narrow", "action": "refresh"}
    page = alices.post(url, derived_form(**typed)).content.decode()
    assert re.search(r'name="options.share"\s+value="0.33"', page)
    page = alices.post(url, derived_form(**typed, method="low_rank")).content.decode()
    assert re.search(r'name="options.share"\s+value="0.25"', page)
    assert 'name="rows"' not in page


def test_a_student_is_made_of_a_teacher_by_the_form(
    alices: Client, project: Project, trained: ModelVersion
) -> None:
    url = reverse("training:model_new", args=["intents"])
    make.dataset_version(project, "words")
    typed = {"options.share": "0.5", "applied.method": "narrow", "rows": "words@1"}
    fault = alices.post(url, derived_form(**typed | {"options.share": "5"})).content.decode()
    assert "between 0.01 and 0.99" in fault
    answer = alices.post(url, derived_form(**typed))
    version = ModelVersion.objects.get(model__name="tiny")
    assert answer["Location"].endswith("/models/tiny/1/")
    assert version.source["dataset"] == "words@1"
    assert "A worker makes it of big@2" in alices.get(answer["Location"]).content.decode()


def test_a_version_page_says_what_it_was_made_of_and_what_was_made_of_it(
    alices: Client, project: Project, trained: ModelVersion
) -> None:
    made = make.model_version(
        project,
        "small",
        parameters=617,
        config={"dim": 4, "altered": {"a": {"rank": 1}, "b": {"rank": 1}}},
        source=made_of(
            options={"share": 0.5},
            dataset="words@1",
            made={"said": "4 of 8 dimensions", "teacher_parameters": 1234, "rows": 512},
        ),
    )
    page = alices.get(reverse("training:model_version", args=["intents", "small", 1]))
    text = " ".join(page.content.decode().split())
    assert '4 of 8 dimensions of <a href="/p/intents/models/big/2/">big@2</a>' in text
    for shown in ("50 % of big@2", "Narrower, kept share 0.5", "512 rows of words@1", "2 layers"):
        assert shown in text, shown
    theirs = alices.get(reverse("training:model_version", args=["intents", "big", 2]))
    assert made.reference in theirs.content.decode()
    assert "source=derived&amp;from=big%402" in theirs.content.decode()
    listed = alices.get(reverse("training:model_detail", args=["intents", "small"]))
    assert "4 of 8 dimensions of big@2" in listed.content.decode()


def test_lineage_leads_from_a_derived_student_to_its_teacher(
    owner: APIClient, project: Project, trained: ModelVersion
) -> None:
    first = make.run(project, status="finished", output=trained)
    small = make.model_version(project, "small", source=made_of())
    second = make.run(project, student=small, dataset_version=first.dataset_version)
    graph = owner.get(f"/api/v1/projects/intents/runs/{second.number}/lineage/").json()
    assert {"from": "big@2", "to": "small@1", "as": "weights"} in graph["edges"]
    assert {"from": f"run/{first.number}", "to": "big@2", "as": "output"} in graph["edges"]
    assert len(graph["edges"]) == len({tuple(edge.values()) for edge in graph["edges"]})


def test_nobody_makes_a_student_of_another_projects_teacher(
    trained: ModelVersion, charlie: User, vera: User
) -> None:
    make.project("theirs", owner=charlie)
    stranger = api_of(charlie)
    answer = stranger.post(
        "/api/v1/projects/theirs/models/", NEW | {"source": made_of()}, format="json"
    )
    assert "no model big@2" in answer.json()["fields"]["source.from"][0]
    assert post(api_of(vera), source=made_of()).status_code == 403


def test_a_link_with_an_unknown_role_opens_the_form_all_the_same(
    alices: Client, project: Project
) -> None:
    page = alices.get(reverse("training:model_new", args=["intents"]), {"role": "zzz"})
    assert page.status_code == 200
