"""Champion and challenger: an alias moves when every rule holds, and says why when not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, Forbidden, Invalid
from projects.models import AliasChange, DatasetVersion, ModelVersion, Project, User
from projects.services import registry, slices
from tests import make
from tests.conftest import api_of, signed_in
from tests.training.conftest import sentences, stored_dataset
from training.models import Artifact, Promotion, Run, Study
from training.services import promotion, promotion_rules
from training.worker import challenge

pytestmark = pytest.mark.django_db

MODEL = "/api/v1/projects/intents/models/small"
Trained = Callable[..., ModelVersion]


def answered(run: Run, folder: Path, rows: list[dict[str, Any]], wrong: set[int]) -> None:
    """A run's answers to test rows, wrong about the rows at these places."""
    table = {
        "row_id": [one["row_id"] for one in rows],
        "split": ["test"] * len(rows),
        "label": [one["label"] for one in rows],
        "student": ["?" if at in wrong else one["label"] for at, one in enumerate(rows)],
        "student_confidence": [0.9] * len(rows),
        "student_value": [float(at not in wrong) for at in range(len(rows))],
    }
    path = folder / f"{run.number}.parquet"
    parquet.write_table(pa.table(table), path)
    blob = storage.put(path)
    Artifact.objects.create(
        run=run, kind="predictions", name="predictions.parquet", sha256=blob.sha256,
        bytes=blob.bytes,
    )  # fmt: skip


@pytest.fixture
def data(project: Project, tmp_path: Path) -> DatasetVersion:
    """Six hundred sentences, two hundred of them for the test."""
    rows = sentences(600)
    for one in rows:
        one["split"] = "test" if one["row_id"] % 3 == 0 else "train"
    return stored_dataset(project, tmp_path, rows)


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    found = sentences(600)
    return [one for one in found if one["row_id"] % 3 == 0]


@pytest.fixture
def trained(
    project: Project, data: DatasetVersion, rows: list[dict[str, Any]], tmp_path: Path
) -> Trained:
    """`trained(wrong=...)`: the next version of `small`, whose run was wrong about these rows."""

    def made(*, wrong: set[int], at: DatasetVersion | None = None, **fields: Any) -> ModelVersion:
        shown = rows if at is None else fields.pop("rows")
        accuracy = 1 - len(wrong) / len(shown)
        latency = {"1": {"median": 0.2, "p95": 0.5}, "32": {"median": 2.0, "p95": 3.0}}
        summary = {
            "headline": "accuracy",
            "split": "test",
            "rows": len(shown),
            "retention": accuracy / 0.95,
            "retention_interval": [accuracy - 0.02, accuracy + 0.02],
            "student": {"accuracy": accuracy, "latency_ms": latency},
        }
        file = {"name": "model.safetensors", "sha256": "0" * 64, "bytes": 4000}
        version = make.model_version(
            project,
            "small",
            source={"kind": "run", "run": project.runs.count() + 1},
            files=[file],
            labels=["account", "billing", "delivery"],
            size_bytes=4000,
        )
        run = make.run(
            project,
            dataset_version=at or data,
            student=version,
            status="finished",
            output=version,
            summary=summary | fields,
        )
        answered(run, tmp_path, shown, wrong)
        return version

    return made


RULES = {"min_retention": 0.9, "min_score": 0.85, "max_loss": 0.03, "max_slice_loss": 0.05}


def rule(project: Project, by: User, **rules: Any) -> None:
    model = project.models.get(name="small")
    promotion.set_rules(model=model, alias="production", rules=rules or RULES, by=by)


def test_a_version_that_keeps_every_rule_is_promoted(
    trained: Trained, project: Project, alice: User, erin: User
) -> None:
    first = trained(wrong=set(range(20)))
    rule(project, alice)
    client = api_of(erin)
    kept = client.post(f"{MODEL}/versions/1/promote/", {"alias": "production"}).json()
    assert (kept["passed"], kept["moved"], kept["champion"]) == (True, True, None)
    assert {one["rule"] for one in kept["checks"]} == set(RULES)
    assert "no champion yet" in " ".join(one["sentence"] for one in kept["checks"])
    second = trained(wrong=set(range(10)))
    asked = client.get(f"{MODEL}/versions/2/promote/").json()
    assert asked["passed"] is True
    assert Promotion.objects.count() == 1  # looking changes nothing
    kept = client.post(f"{MODEL}/versions/2/promote/", {}).json()
    assert (kept["champion"], kept["moved"]) == ("small@1", True)
    loss = next(one for one in kept["checks"] if one["rule"] == "max_loss")
    assert loss["found"] == pytest.approx(10 / 200)
    assert loss["rows"] == 200
    low, high = loss["interval"]
    assert low < 0.05 < high
    assert loss["sentence"].startswith("5.0 points more accuracy than small@1 on the 200 rows")
    assert registry.resolve(project=project, reference="small@production") == second
    assert [one.version for one in promotion.history(model=first.model, alias="production")] == [
        second,
        first,
    ]


def test_a_version_that_is_worse_is_refused_and_the_alias_stays(
    trained: Trained, project: Project, alice: User, erin: User
) -> None:
    first = trained(wrong=set(range(4)))
    rule(project, alice)
    promotion.promote(project=project, version=first, alias="production", by=erin)
    trained(wrong=set(range(4, 40)))
    kept = api_of(erin).post(f"{MODEL}/versions/2/promote/", {"alias": "production"})
    assert kept.status_code == 201
    found = kept.json()
    assert (found["passed"], found["moved"]) == (False, False)
    failed = {one["rule"]: one["sentence"] for one in found["checks"] if not one["passed"]}
    assert set(failed) == {"min_retention", "min_score", "max_loss"}
    assert "16.0 points less accuracy than small@1" in failed["max_loss"]
    assert "at most 3 points worse" in failed["max_loss"]
    assert "at least 85.0 % is asked" in failed["min_score"]
    assert registry.resolve(project=project, reference="small@production") == first
    listed = api_of(erin).get(f"{MODEL}/promotions/").json()["results"]
    assert [(one["model"], one["moved"]) for one in listed] == [
        ("small@2", False),
        ("small@1", True),
    ]


def test_the_worse_end_of_the_interval_counts(
    trained: Trained, project: Project, alice: User
) -> None:
    """As good on the whole, and too few rows to be sure that it is not two points worse."""
    first = trained(wrong=set(range(10)))
    rule(project, alice, max_loss=0.02)
    promotion.promote(project=project, version=first, alias="production", by=alice)
    second = trained(wrong=set(range(100, 110)))
    found = promotion.judge(version=second, alias="production")
    assert not found.passed
    assert found.checks[0].found == 0.0
    assert found.checks[0].sentence.startswith("As good as small@1 on the 200 rows")
    rule(project, alice, max_loss=0.06)
    assert promotion.judge(version=second, alias="production").passed


def test_a_slice_that_is_much_worse_refuses_and_few_rows_do_not(
    trained: Trained,
    project: Project,
    data: DatasetVersion,
    rows: list[dict[str, Any]],
    alice: User,
) -> None:
    delivery = [at for at, one in enumerate(rows) if one["label"] == "delivery"]
    others = [at for at, one in enumerate(rows) if one["label"] != "delivery"]
    first = trained(wrong=set(others[:20]))
    slices.create(version=data, name="delivery", conditions={"label": "delivery"}, by=alice)
    few = rows[delivery[0]]["text"]
    slices.create(version=data, name="few", conditions={"q": few}, by=alice)
    rule(project, alice, max_slice_loss=0.1)
    promotion.promote(project=project, version=first, alias="production", by=alice)
    second = trained(wrong=set(delivery[:20]))
    (check,) = promotion.judge(version=second, alias="production").checks
    assert not check.passed
    assert check.sentence.startswith("On delivery it has ")
    told = {one["name"]: one for one in check.slices}
    assert told["delivery"]["difference"] == pytest.approx(-20 / len(delivery))
    assert (told["few"]["few"], told["few"]["passed"]) == (True, True)
    rule(project, alice, max_slice_loss=0.9)
    assert promotion.judge(version=second, alias="production").passed


def test_files_that_are_gone_do_not_hold(
    trained: Trained, project: Project, data: DatasetVersion, alice: User
) -> None:
    first = trained(wrong=set(range(9)))
    slices.create(version=data, name="delivery", conditions={"label": "delivery"}, by=alice)
    rule(project, alice, max_slice_loss=0.5, max_loss=0.5)
    promotion.promote(project=project, version=first, alias="production", by=alice)
    second = trained(wrong=set())
    assert promotion.judge(version=second, alias="production").passed
    Artifact.objects.filter(run__output=first).update(sha256="0" * 64)
    failed = promotion.judge(version=second, alias="production").failed
    assert [one.rule for one in failed] == ["max_loss", "max_slice_loss"]
    assert all("missing from storage" in one.sentence for one in failed)


def test_rows_of_another_version_are_found_by_what_stands_in_them(
    trained: Trained, project: Project, tmp_path: Path, alice: User
) -> None:
    """A challenger of newer data is held against the champion where both were tested."""
    first = trained(wrong=set(range(10)))
    rule(project, alice, max_loss=0.2)
    promotion.promote(project=project, version=first, alias="production", by=alice)
    before = [one for one in sentences(600) if one["row_id"] % 3 == 0]
    shared = before[50:]
    newer = [*sentences(30, seed=7), *shared]
    for at, one in enumerate(newer):
        one |= {"row_id": at, "split": "test"}
    later = stored_dataset(project, tmp_path, newer)
    texts = {one["text"] for one in before}
    known = {(one["text"], one["label"]) for one in newer if one["text"] in texts}
    second = trained(wrong=set(), at=later, rows=newer)
    run = Run.objects.get(output=second)
    found = challenge.between(run, Run.objects.get(output=first))
    assert len(found.ids) == len(known)
    assert found.ours.mean() == 1.0
    assert promotion.judge(version=second, alias="production").passed


def test_what_nobody_measured_does_not_hold(project: Project, alice: User) -> None:
    file = {"name": "model.safetensors", "sha256": "0" * 64, "bytes": 1}
    version = make.model_version(
        project, "small", source={"kind": "upload"}, files=[file], labels=["no", "yes"]
    )
    version.aliases.create(model=version.model, name="production")
    other = make.model_version(
        project, "small", source={"kind": "upload"}, files=[file], labels=["no", "yes"]
    )
    rule(
        project,
        alice,
        **RULES,
        form="onnx",
        max_latency_ms=5.0,
        max_size_bytes=10,
        needs_export=True,
        not_hurt=True,
    )
    found = promotion.judge(version=other, alias="production")
    assert {one.rule for one in found.failed} == set(promotion_rules.ASKING)
    assert all(one.sentence.endswith(".") for one in found.checks)


def test_an_export_is_what_its_latency_size_and_report_say(
    trained: Trained, project: Project, data: DatasetVersion, alice: User
) -> None:
    version = trained(wrong=set())
    asked = {"form": "onnx-int8", "max_latency_ms": 0.3, "max_size_bytes": 1100}
    rule(project, alice, **asked, needs_export=True)
    found = promotion.judge(version=version, alias="production")
    assert not any(one.passed for one in found.checks)
    assert "export it in that form" in found.checks[0].sentence
    export = make.export(version, data)
    assert promotion.judge(version=version, alias="production").passed
    assert export.report is not None
    export.report |= {"recommended": False, "sentence": "Slower: it takes twice as long."}
    export.save()
    (failed,) = promotion.judge(version=version, alias="production").failed
    assert failed.sentence.endswith("Slower: it takes twice as long.")
    rule(project, alice, max_latency_ms=0.4)  # of the network itself: 0.5 ms
    assert not promotion.judge(version=version, alias="production").passed
    rule(project, alice, max_latency_ms=0.5)
    assert promotion.judge(version=version, alias="production").passed


def test_a_verdict_that_its_teacher_hurt_refuses(
    trained: Trained, project: Project, alice: User
) -> None:
    version = trained(wrong=set())
    rule(project, alice, not_hurt=True)
    assert promotion.judge(version=version, alias="production").passed  # labels alone
    run = Run.objects.get(output=version)
    run.config |= {"teachers": ["big@1"]}
    run.save()
    (check,) = promotion.judge(version=version, alias="production").failed
    assert "Launch it again with `control`" in check.sentence
    for answer, passed in (("hurt", False), ("no_evidence", True), ("helped", True)):
        run.comparison = {"answer": answer, "sentence": "As it was."}
        run.save()
        assert promotion.judge(version=version, alias="production").passed is passed


def test_the_verdict_of_a_study_counts_all_seeds_and_so_comes_before_that_of_one(
    trained: Trained, project: Project, alice: User
) -> None:
    version = trained(wrong=set())
    rule(project, alice, not_hurt=True)
    run = Run.objects.get(output=version)
    told = {"arm": "distilled", "against": "control", "answer": "hurt", "sentence": "All seeds."}
    other = told | {"arm": "pseudo_labels", "answer": "helped"}
    run.study = Study.objects.create(
        project=project, number=1, kind="strategies", name="All ways", asked={},
        report={"comparisons": [other, told]}, created_by=alice,
    )  # fmt: skip
    run.config |= {"teachers": ["big@1"]}
    run.arm, run.comparison = "distilled", {"answer": "no_evidence", "sentence": "One seed."}
    run.save()
    (check,) = promotion.judge(version=version, alias="production").failed
    assert check.sentence == "All seeds."


def test_an_owner_overrides_with_a_reason_that_stays(
    trained: Trained, project: Project, alice: User, erin: User
) -> None:
    version = trained(wrong=set(range(150)))
    rule(project, alice)
    answer = api_of(erin).post(
        f"{MODEL}/versions/1/promote/", {"alias": "production", "override": "I like it"}
    )
    assert answer.status_code == 403
    assert not Promotion.objects.exists()
    kept = (
        api_of(alice)
        .post(f"{MODEL}/versions/1/promote/", {"alias": "production", "override": "The old leaks"})
        .json()
    )
    assert (kept["passed"], kept["moved"], kept["reason"]) == (False, True, "The old leaks")
    (change,) = api_of(erin).get(f"{MODEL}/aliases/production/history/").json()["results"]
    assert (change["how"], change["reason"], change["by"]) == (
        "overridden",
        "The old leaks",
        "alice",
    )
    page = signed_in(erin).get(f"/p/intents/models/small/{version.number}/promotion/")
    assert "The old leaks" in page.content.decode()


def test_an_alias_with_rules_is_neither_set_nor_removed_by_hand(
    trained: Trained, project: Project, alice: User, erin: User
) -> None:
    trained(wrong=set())
    client = api_of(erin)
    address = f"{MODEL}/aliases/production/"
    assert client.put(address, {"version": 1}).status_code == 200
    rule(project, alice)
    answer = client.put(address, {"version": 1})
    assert (answer.status_code, answer.json()["code"]) == (409, "has_rules")
    assert "promoted" in answer.json()["detail"]
    assert client.delete(address).json()["code"] == "has_rules"
    assert client.put(f"{MODEL}/aliases/other/", {"version": 1}).status_code == 200
    page = signed_in(erin).post("/p/intents/models/small/1/aliases/", {"name": "production"})
    assert "has rules" in page.content.decode()
    assert client.put(f"{address}rules/", RULES).status_code == 403
    assert api_of(alice).delete(f"{address}rules/").status_code == 204
    assert client.delete(address).status_code == 204


def test_rolling_back_goes_one_version_back_each_time(
    trained: Trained, project: Project, erin: User, alice: User
) -> None:
    first, second, third = (trained(wrong=set()) for _ in range(3))
    for version in (first, second, third):
        promotion.promote(project=project, version=version, alias="production", by=erin)
    rule(project, alice)  # a safety line that rules do not hold up
    client, address = api_of(erin), f"{MODEL}/aliases/production/rollback/"
    assert client.post(address).json()["version"] == 2
    assert client.post(address).json()["version"] == 1
    answer = client.post(address)
    assert (answer.status_code, answer.json()["code"]) == (409, "nothing_before")
    changes = promotion.history(model=first.model, alias="production")
    assert [one.how for one in changes] == ["rolled_back"] * 2 + ["promoted"] * 3
    assert AliasChange.objects.count() == 5


def test_bad_rules_are_named(trained: Trained, project: Project, alice: User) -> None:
    trained(wrong=set())
    for rules, field in (
        ({}, "rules"),
        ({"form": "onnx"}, "rules"),
        ({"min_size": 1}, "min_size"),
        ({"min_retention": "much"}, "min_retention"),
        ({"max_loss": -1}, "max_loss"),
        ({"max_loss": "nan"}, "max_loss"),
        ({"max_latency_ms": 1, "form": "gguf"}, "form"),
        ({"needs_export": True}, "needs_export"),
        ({"max_size_bytes": 10, "batch": 7}, "batch"),
    ):
        answer = api_of(alice).put(f"{MODEL}/aliases/production/rules/", rules)
        assert answer.status_code == 400, rules
        assert field in answer.json()["fields"], (rules, answer.json())
    for name in ("3", "latest"):
        answer = api_of(alice).put(f"{MODEL}/aliases/{name}/rules/", RULES)
        assert answer.status_code == 400


def test_the_champion_itself_and_what_is_not_ready_are_not_judged(
    trained: Trained, project: Project, alice: User, vera: User
) -> None:
    version = trained(wrong=set())
    promotion.promote(project=project, version=version, alias="production", by=alice)
    with pytest.raises(Conflict, match="already"):
        promotion.judge(version=version, alias="production")
    waiting = make.model_version(project, "small", status="inspecting")
    with pytest.raises(Invalid, match="not ready"):
        promotion.judge(version=waiting, alias="production")
    assert api_of(vera).post(f"{MODEL}/versions/1/promote/", {}).status_code == 403
    project.my_role = None
    with pytest.raises(Forbidden):
        promotion.promote(
            project=project, version=version, alias="production", by=vera, override="because"
        )


def test_the_page_sets_rules_refuses_and_then_promotes(
    trained: Trained, project: Project, alice: User, erin: User, vera: User
) -> None:
    trained(wrong=set(range(60)))
    owner, here = signed_in(alice), "/p/intents/models/small/1/promotion/"
    page = owner.get(here).content.decode()
    assert "May small@1 be production?" in page
    assert "No version is it yet" in page
    rules = "/p/intents/models/small/aliases/production/rules/"
    wrong = owner.post(rules, {"min_score": "very good", "version": "1"}).content.decode()
    assert 'value="very good"' in wrong
    assert "A valid number is required." in wrong
    assert owner.post(rules, {"min_score": "0.9", "version": "1"}).status_code == 302
    page = signed_in(erin).get(here).content.decode()
    assert "Does not hold" in page
    assert "Its accuracy on 200 test rows is 70.0 %; at least 90.0 % is asked." in page
    assert 'name="override"' not in page
    assert 'name="override"' in owner.get(here).content.decode()
    answer = signed_in(erin).post(here, {"alias": "production"}, follow=True).content.decode()
    assert "1 of 1 rules do not hold" in answer
    trained(wrong=set())
    there = "/p/intents/models/small/2/promotion/"
    answer = signed_in(erin).post(there, {"alias": "production"}, follow=True).content.decode()
    assert "production means small@2 now" in answer
    assert "small@2 is production" in answer
    for shown in ("Every other version is held against it", "refused", "passed"):
        assert shown in answer
    looked = signed_in(vera).get(here).content.decode()
    assert "Promote to production" not in looked
    assert "Held against" in looked
    assert owner.post(rules, {"remove": "yes", "version": "1"}).status_code == 302
    assert promotion.rules_of(model=project.models.get(name="small"), alias="production") == {}
