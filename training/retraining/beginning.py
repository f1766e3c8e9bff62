"""What begins a retraining, and what speaks against it."""

from __future__ import annotations

from datetime import timedelta

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, transaction
from django.db.models import Exists, Max, OuterRef
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid
from projects.ingest.formats import GENERATION_TASK, UNLABELLED
from projects.models import ModelVersion, Project, User
from projects.services import audit
from training.engine.alerting import FIRING, RECOVERING
from training.models import Incident, Monitor, Retraining, Run, SignalAlert
from training.retraining import steps
from training.retraining.steps import Elsewhere, Status
from training.services import exports, promotion, retraining_policy
from training.worker import dispatch

JOB = "training.advance_retraining"
#: What an incident must be about, beside inputs that look different (also to the model: `vector`).
EVIDENCE = frozenset(
    {"agreement", "accuracy", "span_f1", "whose_fault", "error_stream", "disagreement_stream"}
)
QUALITY = "quality."
#: Tasks whose live rows hold nothing that could be right or wrong.
UNTAUGHT = frozenset(UNLABELLED)


class Refused(Conflict):
    """Nothing can be retrained now, for a reason in a sentence."""

    code = "not_retrainable"


def begin(*, monitor: Monitor, by: User, incident: Incident | None = None) -> Retraining:
    """A person begins one; one that was proposed begins, and is returned.

    Raises Refused, and Conflict while another is under way.
    """
    sentence = f"{by.display_name} asked for it."
    made = _propose(monitor, incident=incident, by=by, sentence=sentence, asked=True)
    return start(retraining=made, by=by)


def propose(*, monitor: Monitor, sentence: str, incident: Incident | None = None) -> Retraining:
    """What a policy does: a person is asked, unless it starts by itself. Raises like `begin`."""
    by = monitor.created_by
    doubt = _both_err(incident) if incident is not None else ""
    made = _propose(monitor, incident=incident, by=by, sentence=f"{sentence} {doubt}".strip())
    if made.policy["starts_itself"] and made.status == Status.PROPOSED and not doubt:
        with transaction.atomic():
            made = start(retraining=made, by=by)
            _record("retraining.start", made, "Its policy starts it by itself.")
    return made


def start(*, retraining: Retraining, by: User) -> Retraining:
    """Begin what was proposed. Raises Refused, and Conflict of one that has begun."""
    require(retraining.monitor)
    try:
        with steps.locked(retraining, Status.PROPOSED) as row:
            steps.write(
                row,
                Status.COLLECTING,
                f"Begun by {by.display_name}.",
                by=by,
                champion=champion_of(row.monitor),  # of now, not of when it was proposed
                policy=retraining_policy.of(row.monitor),
            )
    except Elsewhere:
        retraining.refresh_from_db()
        raise Conflict(
            f"Retraining {retraining.number} has begun already: it is {retraining.status}.",
            code="begun",
        ) from None
    wake(retraining)
    return retraining


def wake(retraining: Retraining) -> None:
    """Have a worker look at it, once this is committed."""
    number = retraining.pk
    transaction.on_commit(lambda: dispatch.call(JOB, retraining_id=number), robust=True)


def _propose(
    monitor: Monitor, *, incident: Incident | None, by: User, sentence: str, asked: bool = False
) -> Retraining:
    """The one that is proposed; there is never more than one that is not over."""
    require(monitor)
    if incident is not None:
        if incident.monitor_id != monitor.pk:
            fault = f"Incident {incident.number} is of another monitor."
            raise Invalid(fault, fields={"incident": [fault]})
        if why := against(incident):
            raise Refused(why)
    with transaction.atomic():
        Project.objects.select_for_update().get(pk=monitor.project_id)
        open_one = monitor.retrainings.unfinished().first()
        if open_one is not None:
            if open_one.status == Status.PROPOSED:
                return open_one
            raise Conflict(
                f"Retraining {open_one.number} of {monitor} is under way: {open_one.status}.",
                code="under_way",
            )
        newest = Retraining.objects.filter(project=monitor.project_id).aggregate(
            number=Max("number")
        )["number"]
        made = Retraining(
            project_id=monitor.project_id,
            number=(newest or 0) + 1,
            monitor=monitor,
            incident=incident,
            policy=retraining_policy.of(monitor),
            champion=champion_of(monitor),
            created_by=by,
        )
        try:
            with transaction.atomic():
                steps.write(made, Status.PROPOSED, sentence, by=by if asked else None)
                if not asked:
                    _record("retraining.create", made, sentence)
        except IntegrityError:
            raise Conflict(f"A retraining of {monitor} is under way.", code="under_way") from None
    return made


def _record(action: str, retraining: Retraining, why: str) -> None:
    """What a policy did, and nobody."""
    monitor = retraining.monitor
    audit.record(
        action,
        by=None,
        project=monitor.project,
        subject=str(retraining.number),
        detail={"monitor": monitor.name, "why": why},
    )


# -- what speaks against it -----------------------------------------------------------------------


def require(monitor: Monitor) -> None:
    """Raises Refused."""
    if why := refusal(monitor):
        raise Refused(why)


def refusal(monitor: Monitor) -> str:
    """Why nothing can be retrained for this monitor now; empty where it can."""
    return lasting_refusal(monitor) or quality_refusal(monitor)


def quality_refusal(monitor: Monitor) -> str:
    """That what comes is broken; empty where it is not."""
    if spoilt := quality_alerts(monitor):
        named = ", ".join(one.signal.removeprefix(QUALITY).replace("_", " ") for one in spoilt[:3])
        return (
            f"A data-quality alert is open ({named}): a student would learn from broken rows. "
            "Mend what sends them first."
        )
    return ""


def lasting_refusal(monitor: Monitor) -> str:
    """Why no policy begins anything for this monitor, as long as it is what it is."""
    if monitor.project.archived_at is not None:
        return "This project is archived; nothing new can be trained in it."
    champion = champion_of(monitor)
    if champion is None:
        what = monitor.external or "its model"
        return (
            f"{monitor} watches {what}, which is served elsewhere: there is nothing to train here. "
            "Make a dataset of a window's rows, for its next version, where it is made."
        )
    if champion.model.task == GENERATION_TASK:
        return (
            f"{champion.reference} writes texts, and no gate here tells whether the next "
            "one writes better. Add the rows of a window, with their right answers, to its "
            "dataset, and launch its run again with that version."
        )
    if champion.model.task in UNTAUGHT:
        return f"Live rows of {champion.model.task} have no labels that a student could learn."
    if run_of(champion) is None:
        return (
            f"No run here trained {champion.reference}, so there is no configuration to train it "
            "by again. Launch a run, and promote what it makes."
        )
    if monitor.privacy in (Monitor.Privacy.HASHED, Monitor.Privacy.DESCRIBED):
        kept = monitor.get_privacy_display().lower()
        return (
            f"{monitor} keeps no inputs ({kept}), so there are no rows to learn from. Let it keep "
            "them, raw or redacted, and wait for new rows."
        )
    return ""


def champion_of(monitor: Monitor) -> ModelVersion | None:
    """What its alias means now, else the version that it watches."""
    if monitor.model is not None and monitor.alias:
        found = promotion.champion_of(model=monitor.model, alias=monitor.alias)
        if found is not None:
            return found
    return monitor.version


def run_of(version: ModelVersion) -> Run | None:
    """The run whose configuration trains it again."""
    found = exports.maker(version)
    if found is None or found.is_tracked or found.dataset_version is None:
        return None
    return found


def quality_alerts(monitor: Monitor) -> list[SignalAlert]:
    """Alerts about the data themselves that are open."""
    found = monitor.alerts.filter(signal__startswith=QUALITY)
    # Muted or without data, it stays open. (`isnull` asks whether JSON has the key, not of null.)
    return [
        one
        for one in found
        if one.state in (FIRING, RECOVERING) or one.kept.get("opened") is not None
    ]


def against(incident: Incident) -> str:
    """Why an incident alone opens no retraining; empty where it may."""
    signals = {str(one.get("signal", "")) for one in incident.signals}
    if signals & EVIDENCE:
        return ""
    named = ", ".join(sorted(signals)[:3]) or "nothing"
    return (
        f"Incident {incident.number} is about {named} alone: that inputs or confidence changed "
        "does not say that the model errs. Wait for labels or for the teacher's answers, or begin "
        "a retraining by hand, without the incident."
    )


def _both_err(incident: Incident) -> str:
    """A warning where the teacher is wrong, too: its labels would teach its errors."""
    scores = incident.window.scores if incident.window is not None else {}
    for one in scores.get("whose_fault") or []:
        if (one.get("facts") or {}).get("kind") == "both_wrong":
            return (
                "But the teacher errs there, too: name another in the policy, or have people check "
                "rows first."
            )
    return ""


# -- what a policy begins -------------------------------------------------------------------------


def look() -> int:
    """Propose what incidents and schedules ask for; how many. Harmless to repeat."""
    made = 0
    for monitor, incident, sentence in _due():
        try:
            propose(monitor=monitor, incident=incident, sentence=sentence)
            made += 1
        except (Conflict, ObjectDoesNotExist, IntegrityError):  # changed or gone meanwhile
            continue
    return made


def _due() -> list[tuple[Monitor, Incident | None, str]]:
    found: list[tuple[Monitor, Incident | None, str]] = []
    unfinished = Retraining.objects.filter(monitor=OuterRef("pk")).exclude(
        status__in=Retraining.FINAL
    )
    monitors = (
        Monitor.objects.watching()
        .exclude(version=None)
        .exclude(Exists(unfinished))
        .select_related("project", "model", "version__model", "created_by")
    )
    answered = Retraining.objects.filter(incident=OuterRef("pk"))
    incidents = {one.monitor_id: one for one in Incident.objects.open().exclude(Exists(answered))}
    for monitor in monitors:
        policy = retraining_policy.of(monitor)
        incident = incidents.get(monitor.pk)
        if incident is not None and policy["on_incident"] and not against(incident):
            found.append((monitor, incident, f"Incident {incident.number}: {incident.sentence}"))
        elif policy["every_days"] and _is_due(monitor, policy["every_days"]):
            many = policy["every_days"]
            days = "A day" if many == 1 else f"{many} days"
            found.append((monitor, None, f"{days} have passed since the last."))
    return found


def _is_due(monitor: Monitor, days: int) -> bool:
    newest = monitor.retrainings.aggregate(at=Max("created_at"))["at"] or monitor.created_at
    return bool(newest + timedelta(days=days) <= timezone.now())
