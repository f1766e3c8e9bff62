"""Champions and challengers: a version is promoted to an alias when it keeps the alias's rules.

    judge(version=..., alias="production")       looks, and changes nothing
    promote(version=..., alias="production")     looks, keeps what was found, and moves the alias

The rules are of one alias of one registered model (promotion_rules.py). What an alias meant is
kept (projects/services/registry.py): rolling back is going to what it meant before.
"""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects import permissions
from projects.models import (
    AliasChange,
    AliasRules,
    ModelAlias,
    ModelVersion,
    Project,
    RegisteredModel,
    Role,
    User,
)
from projects.services import registry
from training.models import Promotion
from training.services import promotion_checks, promotion_rules
from training.services.promotion_checks import Candidate, Check

JSON = dict[str, Any]
How = AliasChange.How
LONGEST_REASON = 2000


class Moved(Conflict):
    """Somebody moved the alias while a version was held against what it meant."""

    code = "moved"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A version against an alias's rules and its champion."""

    version: ModelVersion
    alias: str
    champion: ModelVersion | None
    rules: JSON
    checks: list[Check]

    @property
    def passed(self) -> bool:
        return all(one.passed for one in self.checks)

    @property
    def failed(self) -> list[Check]:
        return [one for one in self.checks if not one.passed]

    @property
    def sentence(self) -> str:
        if not self.checks:
            return f"{self.alias} has no rules, so nothing speaks against it."
        if self.passed:
            return f"{self.version.reference} keeps every rule of {self.alias}."
        many = f"{len(self.failed)} of {len(self.checks)} rules"
        return f"{self.version.reference} breaks {many} of {self.alias}."


def judge(*, version: ModelVersion, alias: str) -> Judgement:
    """Raises Invalid for a version that nothing may point at, Conflict for the champion itself."""
    if version.status != ModelVersion.Status.READY:
        raise Invalid(f"{version.reference} is not ready, so nothing may point at it.")
    champion = champion_of(model=version.model, alias=alias)
    if champion is not None and champion.pk == version.pk:
        raise Conflict(f"{alias} means {version.reference} already.", code="champion")
    rules = rules_of(model=version.model, alias=alias)
    checks = promotion_checks.check(Candidate(version, champion, rules))
    return Judgement(version, alias, champion, rules, checks)


def promote(
    *, project: Project, version: ModelVersion, alias: str, by: User, override: str = ""
) -> Promotion:
    """Judge, keep what was found, and let the alias mean this version where every rule holds;
    `override`, an owner's reason, moves it all the same.

    Raises like `judge`; Forbidden for a reason of somebody who is no owner; Moved.
    """
    alias, reason = alias.strip(), override.strip()
    if reason:
        permissions.require(project, at_least=Role.OWNER)
        if len(reason) > LONGEST_REASON:
            sentence = f"A reason has at most {LONGEST_REASON} characters."
            raise Invalid(sentence, fields={"override": [sentence]})
    judgement = judge(version=version, alias=alias)
    moves = judgement.passed or bool(reason)
    with transaction.atomic():
        RegisteredModel.objects.select_for_update().get(pk=version.model_id)
        now = champion_of(model=version.model, alias=alias)
        if now != judgement.champion or judgement.rules != rules_of(
            model=version.model, alias=alias
        ):
            raise Moved(f"{alias} or its rules were changed meanwhile. Try again.")
        if moves:
            overridden = not judgement.passed
            registry.set_alias(
                model=version.model,
                name=alias,
                version=version,
                how=How.OVERRIDDEN if overridden else How.PROMOTED,
                reason=reason if overridden else "",
                by=by,
            )
        return Promotion.objects.create(
            version=version,
            alias=alias,
            champion=judgement.champion,
            rules=judgement.rules,
            checks=[one.as_dict() for one in judgement.checks],
            passed=judgement.passed,
            moved=moves,
            reason=reason if moves and not judgement.passed else "",
            by=by,
        )


def roll_back(*, model: RegisteredModel, alias: str, by: User) -> ModelAlias:
    """Let the alias mean what it meant before. Raises Conflict where it meant nothing else."""
    with transaction.atomic():
        RegisteredModel.objects.select_for_update().get(pk=model.pk)
        before = previous(model=model, alias=alias)
        if before is None:
            raise Conflict(f"{alias} meant no other version before.", code="nothing_before")
        return registry.set_alias(
            model=model, name=alias, version=before, how=How.ROLLED_BACK, by=by
        )


def previous(*, model: RegisteredModel, alias: str) -> ModelVersion | None:
    """What rolling back would let the alias mean: going back twice goes two versions back."""
    held: list[ModelVersion] = []
    changes = history(model=model, alias=alias).exclude(version=None)
    for change in reversed(changes):
        assert change.version is not None
        if change.how == How.ROLLED_BACK and len(held) > 1:
            held.pop()
        elif not held or held[-1] != change.version:
            held.append(change.version)
    now = champion_of(model=model, alias=alias)
    while held and held[-1] == now:
        held.pop()
    return held[-1] if held and now is not None else None


def champion_of(*, model: RegisteredModel, alias: str) -> ModelVersion | None:
    """What the alias means now."""
    found = (
        ModelAlias.objects.select_related("version__model").filter(model=model, name=alias).first()
    )
    return found.version if found is not None else None


def history(*, model: RegisteredModel, alias: str) -> QuerySet[AliasChange]:
    """What an alias meant, newest first."""
    changes = AliasChange.objects.filter(model=model, name=alias)
    return changes.select_related("version__model", "by")


def attempts(*, model: RegisteredModel, alias: str = "") -> QuerySet[Promotion]:
    """What was held against rules, newest first, whether it passed or not."""
    found = Promotion.objects.filter(version__model=model)
    found = found.filter(alias=alias) if alias else found
    return found.select_related("version__model", "champion__model", "by")


# -- rules ----------------------------------------------------------------------------------------


def rules_of(*, model: RegisteredModel, alias: str) -> JSON:
    """Empty where the alias has none."""
    kept = AliasRules.objects.filter(model=model, name=alias).first()
    return dict(kept.rules) if kept is not None else {}


def ruled(*, model: RegisteredModel) -> QuerySet[AliasRules]:
    return AliasRules.objects.filter(model=model).select_related("changed_by")


def set_rules(*, model: RegisteredModel, alias: str, rules: Any, by: User) -> AliasRules:
    """From now on the alias moves by promotion alone. Raises Invalid."""
    complete = promotion_rules.complete(rules, task=model.task)
    registry.check_alias(model=model, name=alias)
    kept, _ = AliasRules.objects.update_or_create(
        model=model, name=alias, defaults={"rules": complete, "changed_by": by}
    )
    return kept


def remove_rules(*, model: RegisteredModel, alias: str, by: User) -> None:
    """Raises Missing."""
    removed, _ = AliasRules.objects.filter(model=model, name=alias).delete()
    if not removed:
        raise Missing(f"{alias} has no rules.")
