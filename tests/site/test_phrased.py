"""Questions that are written as SQL once: they answer what a QuerySet answers, each time anew."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import CharField, Count, IntegerField, QuerySet
from django.db.transaction import TransactionManagementError, get_connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from distillhub.lib.phrased import Given, Phrased
from projects.models import ApiToken, Membership, Project, User
from projects.services import accounts
from tests import make
from training.services.tracking import HELD

ME = "/api/v1/me/"


def members(slug: Any) -> QuerySet[Membership]:
    asked = (
        Membership.objects.select_related("project").order_by("pk").defer("project__description")
    )
    return asked.filter(project__slug=slug).annotate(runs=Count("project__runs"))


def test_rows_are_what_a_queryset_would_have_made(project: Project, alice: User) -> None:
    make.run(project, number=1)
    make.project("other", owner=alice)
    phrased = Phrased(lambda: members(Given("slug", CharField())))
    for slug in ("intents", "other", "nowhere", "intents"):
        with CaptureQueriesContext(connection) as asked:
            found = phrased.rows(slug=slug)
            told = [(one.pk, one.project.name, one.runs, one.created_at) for one in found]  # type: ignore[attr-defined]
        assert len(asked) == 1
        plain = members(slug)
        assert told == [(one.pk, one.project.name, one.runs, one.created_at) for one in plain]  # type: ignore[attr-defined]
        assert [one.project.get_deferred_fields() for one in found] == [
            one.project.get_deferred_fields() for one in plain
        ]
    assert phrased.first(slug="nowhere") is None


def test_a_text_or_a_time_is_not_kept_from_when_it_was_phrased(db: None) -> None:
    texts = Phrased(lambda: ApiToken.objects.filter(name="a"))
    times = Phrased(lambda: ApiToken.objects.usable())
    for phrased in (texts, times):
        with pytest.raises(TypeError, match="let it be Given"):
            phrased.rows()
    in_numbers = Phrased(lambda: Project.objects.filter(pk__in=[1, Given("pk", IntegerField())]))
    assert in_numbers.rows(pk=2) == []


def test_a_token_that_ends_is_refused_at_once_though_it_was_good_before(
    project: Project, alice: User
) -> None:
    token, raw = accounts.create_token(user=alice, name="mine")
    client = APIClient(headers={"Authorization": f"Bearer {raw}"})
    changes: list[dict[str, Any]] = [
        {"expires_at": timezone.now() - timedelta(seconds=1)},
        {"revoked_at": timezone.now()},
    ]
    for change in changes:
        assert client.get(ME).status_code == 200
        ApiToken.objects.filter(pk=token.pk).update(**change)
        assert client.get(ME).status_code == 401
        ApiToken.objects.filter(pk=token.pk).update(**dict.fromkeys(change))
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert client.get(ME).status_code == 401


def test_rows_are_locked_within_a_transaction_only(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make.tracked(project, number=1)
    assert HELD.first(project=project.pk, number=1) == run
    with monkeypatch.context() as outside:
        outside.setattr(get_connection(), "in_atomic_block", False)
        with pytest.raises(TransactionManagementError):
            HELD.first(project=project.pk, number=1)
