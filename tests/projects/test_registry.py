from typing import Any

import pytest

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import ModelVersion, Project, User
from projects.services import registry
from tests import make

SOURCE = {"kind": "architecture", "architecture": "bag_of_embeddings", "config": {}}


def register(project: Project, by: User, name: str = "tiny", **more: Any) -> ModelVersion:
    return registry.register(
        project=project,
        name=name,
        role=more.pop("role", "student"),
        task="text-classification",
        source=SOURCE,
        architecture="bag_of_embeddings",
        by=by,
        **more,
    )


def ready(version: ModelVersion) -> ModelVersion:
    version.status = ModelVersion.Status.READY
    version.save()
    return version


def test_a_registered_model_begins_with_version_1_being_inspected(
    project: Project, alice: User
) -> None:
    version = register(project, alice)
    assert version.reference == "tiny@1"
    assert version.status == "inspecting"
    assert version.source == SOURCE


def test_a_name_is_given_once_in_a_project(project: Project, alice: User) -> None:
    register(project, alice)
    with pytest.raises(Conflict) as caught:
        register(project, alice, role="teacher")
    assert "name" in caught.value.fields
    other = make.project(owner=alice)
    assert register(other, alice).number == 1


@pytest.mark.parametrize("name", ["", "a/b", "a@1", "run/12", "-x", "a b", "x" * 101, "a\n"])
def test_a_name_that_could_not_stand_in_a_reference_is_refused(
    project: Project, alice: User, name: str
) -> None:
    if name == "a\n":  # surrounding space is forgiven, not stored
        assert register(project, alice, name).model.name == "a"
        return
    with pytest.raises(Invalid) as caught:
        register(project, alice, name)
    assert "name" in caught.value.fields


def test_an_unknown_role_is_refused(project: Project, alice: User) -> None:
    with pytest.raises(Invalid) as caught:
        register(project, alice, role="professor")
    assert "role" in caught.value.fields


def test_versions_count_up(project: Project, alice: User) -> None:
    model = register(project, alice).model
    second = registry.add_version(model=model, source={"kind": "run", "run": 7}, by=alice)
    assert second.number == 2


def test_a_reference_means_the_newest_usable_version(project: Project, alice: User) -> None:
    first = ready(register(project, alice))
    registry.add_version(model=first.model, source=SOURCE, by=alice)
    assert registry.resolve(project=project, reference="tiny") == first
    assert registry.resolve(project=project, reference="tiny@1") == first
    with pytest.raises(Invalid, match="still being inspected"):
        registry.resolve(project=project, reference="tiny@2")


def test_a_failed_version_says_why_it_cannot_be_used(project: Project, alice: User) -> None:
    version = register(project, alice)
    version.status = ModelVersion.Status.FAILED
    version.error = {"code": "bad_model", "detail": "It holds a pickle."}
    version.save()
    with pytest.raises(Invalid, match="It holds a pickle"):
        registry.resolve(project=project, reference="tiny")


@pytest.mark.parametrize("reference", ["tiny@9", "tiny@best", "other", "", "@", "tiny@", "t@²"])
def test_what_does_not_exist_is_missing(project: Project, alice: User, reference: str) -> None:
    ready(register(project, alice))
    with pytest.raises(Missing):
        registry.resolve(project=project, reference=reference)


def test_a_model_of_another_project_is_missing(project: Project, alice: User) -> None:
    ready(register(make.project(owner=alice), alice))
    with pytest.raises(Missing):
        registry.resolve(project=project, reference="tiny")


def test_an_alias_moves(project: Project, alice: User) -> None:
    first = ready(register(project, alice))
    second = ready(registry.add_version(model=first.model, source=SOURCE, by=alice))
    registry.set_alias(model=first.model, name="production", version=first, by=alice)
    assert registry.resolve(project=project, reference="tiny@production") == first
    registry.set_alias(model=first.model, name="production", version=second, by=alice)
    assert registry.resolve(project=project, reference="tiny@production") == second
    assert first.model.aliases.count() == 1
    registry.remove_alias(model=first.model, name="production", by=alice)
    with pytest.raises(Missing):
        registry.resolve(project=project, reference="tiny@production")
    with pytest.raises(Missing):
        registry.remove_alias(model=first.model, name="production", by=alice)


@pytest.mark.parametrize("name", ["3", "latest", "a@b", "", "a b"])
def test_an_alias_that_would_be_ambiguous_is_refused(
    project: Project, alice: User, name: str
) -> None:
    version = ready(register(project, alice))
    with pytest.raises(Invalid) as caught:
        registry.set_alias(model=version.model, name=name, version=version, by=alice)
    assert "name" in caught.value.fields


def test_an_alias_points_at_a_version_of_its_own_model(project: Project, alice: User) -> None:
    mine = ready(register(project, alice))
    other = ready(register(project, alice, "other"))
    with pytest.raises(Missing):
        registry.set_alias(model=mine.model, name="production", version=other, by=alice)
