"""What people do with a retraining that is under way: decide, end it, go back."""

from __future__ import annotations

from contextlib import suppress

from django.db import transaction

from distillhub.lib.errors import Conflict
from projects.models import ModelVersion, User
from projects.services import audit
from training.models import Retraining
from training.retraining import steps
from training.retraining.steps import Elsewhere, Status
from training.services import promotion, retraining_policy, runs


class GateShut(Conflict):
    """The challenger did not pass the gate."""

    code = "gate"


def decide(*, retraining: Retraining, promote: bool, by: User, override: str = "") -> Retraining:
    """Promote the challenger by the rules of the alias, or keep the champion. An owner's reason,
    `override`, promotes it though the gate or a rule does not hold.

    Raises Conflict unless it waits for a decision, GateShut, and what `promotion.promote` does.
    """
    project = retraining.project  # which knows the role of whoever asks
    try:
        with steps.locked(retraining, Status.DECIDING) as row:
            row.project = project
            if not promote:
                sentence = f"{by.display_name} keeps {_named(row.champion)}."
                steps.write(row, Status.KEPT, sentence, by=by, decided_by=by)
            else:
                _promote(row, by=by, override=override.strip(), decided_by=by)
    except Elsewhere:
        retraining.refresh_from_db()
        raise Conflict(
            f"Retraining {retraining.number} waits for no decision: it is {retraining.status}.",
            code="nothing_to_decide",
        ) from None
    return retraining


def decide_alone(retraining: Retraining) -> None:
    """Where the policy asks nobody: what the gate says."""
    if retraining.policy["asks"]:
        return
    with steps.locked(retraining, Status.DECIDING) as row:
        passes = bool((row.judgement or {}).get("passed"))
        if passes:
            _promote(row, by=row.created_by, override="", decided_by=None)
        else:
            sentence = f"The gate keeps {_named(row.champion)}. {row.judgement['sentence']}"
            steps.write(row, Status.KEPT, sentence)
        audit.record(
            "retraining.decide",
            by=None,
            project=row.project,
            subject=str(row.number),
            detail={"promote": passes, "monitor": row.monitor.name, "why": row.sentence},
        )


def _promote(row: Retraining, *, by: User, override: str, decided_by: User | None) -> None:
    judgement = row.judgement or {}
    if row.challenger is None:
        raise Conflict("The challenger was deleted.")
    gate_holds = all(one["passed"] for one in judgement.get("gate", []))
    if not gate_holds and not override:
        raise GateShut(f"{judgement.get('sentence', '')} An owner may override it with a reason.")
    alias = retraining_policy.alias_of(row.monitor, row.policy)
    now = promotion.champion_of(model=row.challenger.model, alias=alias)
    if now is not None and now != row.champion and not override:
        raise Conflict(
            f"{alias} means {now.reference} by now, and {row.challenger.reference} was held "
            f"against {_named(row.champion)}. Keep what it means, and begin another.",
            code="moved",
        )
    kept = promotion.promote(
        project=row.project, version=row.challenger, alias=alias, by=by, override=override
    )
    if not kept.moved:
        failed = "; ".join(one["sentence"] for one in kept.checks if not one["passed"])
        raise GateShut(f"A rule of {alias} does not hold: {failed}")
    who = by.display_name if decided_by is not None else "The gate"
    sentence = f"{who} promoted {row.challenger.reference}: {alias} means it now."
    if override:
        sentence += f" Against the gate: {override}"
    if not row.monitor.alias:
        sentence += f" {row.monitor.name} follows no alias: it goes on watching what it watched."
    steps.write(
        row, Status.PROMOTED, sentence, by=decided_by, promotion=kept, decided_by=decided_by
    )


def cancel(*, retraining: Retraining, by: User) -> Retraining:
    """End it, with the run that trains; what was made stays. Raises Conflict when it is over."""
    live = [one for one in Status if one not in Retraining.FINAL]
    try:
        with steps.locked(retraining, *live) as row:
            if row.run is not None:
                for run in (*row.run.controls.unfinished(), row.run):
                    if not run.is_final:
                        with suppress(Conflict), transaction.atomic():
                            runs.cancel(run=run, by=by)
            steps.write(row, Status.CANCELLED, f"Ended by {by.display_name}.", by=by)
    except Elsewhere:
        retraining.refresh_from_db()
        raise Conflict(
            f"Retraining {retraining.number} is already {retraining.status}.", code="already_over"
        ) from None
    return retraining


def roll_back(*, retraining: Retraining, by: User) -> Retraining:
    """Let the alias mean again what it meant before the challenger. Raises Conflict where it means
    something else by now, or nothing was promoted."""
    try:
        with steps.locked(retraining, Status.PROMOTED) as row:
            alias = retraining_policy.alias_of(row.monitor, row.policy)
            now = row.challenger and promotion.champion_of(model=row.challenger.model, alias=alias)
            if row.challenger is None or now != row.challenger:
                raise Conflict(
                    f"{alias} does not mean {_named(row.challenger)} any more.", code="moved"
                )
            moved = promotion.roll_back(model=row.challenger.model, alias=alias, by=by)
            sentence = f"{by.display_name} rolled {alias} back to {moved.version.reference}."
            steps.write(row, Status.PROMOTED, sentence, by=by)
    except Elsewhere:
        raise Conflict("Nothing was promoted here.", code="nothing_before") from None
    return retraining


def can_roll_back(retraining: Retraining) -> bool:
    if retraining.status != Status.PROMOTED or retraining.challenger is None:
        return False
    alias = retraining_policy.alias_of(retraining.monitor, retraining.policy)
    model = retraining.challenger.model
    now = promotion.champion_of(model=model, alias=alias)
    return now == retraining.challenger and promotion.previous(model=model, alias=alias) is not None


def _named(version: ModelVersion | None) -> str:
    return version.reference if version is not None else "the champion"
