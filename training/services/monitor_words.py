"""How a monitor stands, in plain words: what it is, what changed, and what to do."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from distillhub.templatetags import ui
from projects.ingest.formats import GENERATION_TASK, UNLABELLED
from training.engine import shares
from training.models import Incident, Monitor, MonitorWindow
from training.services import signals
from training.services.signals import QUALITY, TRAFFIC, Signal
from training.worker import incident_words

JSON = dict[str, Any]

MOST_NAMED = 4
RECENT = 5  # windows that are asked whose fault it is
#: Signals that tell that answers are worse, and not only that inputs are others.
HARM = ("agreement", "accuracy", "span_f1", "whose_fault")
#: These ring once for a change, and are silent after, whatever became of it.
STREAMS = ("error_stream", "disagreement_stream")
FAULTS = {"student_wrong": "The student alone is wrong", "both_wrong": "Both are wrong"}
CAVEAT = (
    "The estimate is what the student's own confidence promises. It is right where only the mix of "
    "rows changed, and far too high where rows are of a kind that the student never learned: "
    "believe the sampled teacher, and labels, first."
)
MORE = "So few rows prove nothing yet. Send more labels, or have the teacher asked more often."


@dataclass(frozen=True, slots=True)
class Standing:
    """`kind` is waiting, fitting, paused, quiet or moved; `changes` one sentence each."""

    kind: str
    sentence: str
    tone: str = "mute"
    changes: list[str] = field(default_factory=list)
    advice: str = ""


def standing(
    monitor: Monitor,
    windows: Sequence[MonitorWindow],
    found: Sequence[Signal],
    incident: Incident | None,
) -> Standing:
    """From windows that were read, oldest first, and their signals."""
    moved = moving(found)
    fault = fault_advice(one.scores for one in reversed(windows[-RECENT:]))
    changes = [changed(one) for one in moved[:MOST_NAMED]]
    if len(moved) > MOST_NAMED:
        changes.append(f"And {len(moved) - MOST_NAMED} more.")
    if monitor.is_paused:
        return Standing("paused", "Paused: no window is judged until somebody resumes it.", "warn")
    until = monitor.traffic_until
    if not monitor.is_fitted and until is not None and until > timezone.now():
        sentence = f"What comes until {until:%d %B, %H:%M} UTC tells what is usual."
        return Standing("waiting", f"{sentence} Windows are judged after.", "wait")
    if not monitor.is_fitted:
        return Standing(
            "fitting",
            "Its reference is being read. Rows that come meanwhile are kept and judged after.",
            "live",
        )
    if incident is not None:
        tone = "warn" if incident.severity == "notice" else "bad"
        said = incident.sentence
        for one in (incident.facts or {}).get("advice") or []:  # it stands beside "What to do"
            said = said.replace(str(one), "").strip()
        return Standing("moved", said, tone, changes, advice(monitor, found, moved, fault))
    if not windows:
        if monitor.rows:
            return Standing(
                "waiting", "Rows came; no window of this stretch is judged yet.", "wait"
            )
        return Standing("waiting", "Nothing was sent yet.", "wait")
    if moved:
        many = "One signal is" if len(moved) == 1 else f"{len(moved)} signals are"
        sentence = f"{many} beyond the limits in the newest window. One window opens no alert."
        return Standing("moved", sentence, "warn", changes, advice(monitor, found, moved, fault))
    if all(one.level is None for one in found if one.group != TRAFFIC):
        return Standing(
            "quiet", "The newest windows have too few rows to say anything.", "wait", [],
            f"A window needs {monitor.minimum_rows} rows. Send more, or make windows longer.",
        )  # fmt: skip
    if doubt := _doubt(monitor, windows[-RECENT:]):
        return Standing("quiet", f"No signal is beyond the limits. {doubt}", "warn", [], MORE)
    return Standing("quiet", "All is as it was on the reference.", "good")


def _doubt(monitor: Monitor, windows: Sequence[MonitorWindow]) -> str:
    """That a share is lower than chance explains, though by too few rows for its detector."""
    for name in ("accuracy", "agreement"):
        fact = newest_fact(windows, name)
        before = (monitor.reference or {}).get(name)
        if not isinstance(fact, Mapping) or not isinstance(before, Mapping):
            continue
        found = {**fact, "reference": before.get("value")}
        if incident_words.is_lower(found):
            now, then = ui.percent(found["value"]), ui.percent(found["reference"])
            rows = round(found.get("rows") or 0)
            of = f"{ui.grouped(rows)} row{'' if rows == 1 else 's'}"
            return f"But {signals.words(name)} was {now} of {of} lately, {then} on the reference."
    return ""


def moving(found: Sequence[Signal]) -> list[Signal]:
    """Those beyond the limits in their newest window, the worst first."""
    against = [one for one in found if one.level is not None and one.level >= 1]
    return sorted(against, key=lambda one: -(one.level or 0.0))


def changed(signal: Signal) -> str:
    """`length moved: Population stability index 0.31, where chance reaches 0.05.`"""
    score = signal.score or {}
    facts = score.get("facts") or {}
    # A column is called as it is spelt.
    is_column = signal.key.startswith("input.")
    name = signal.words if is_column else signal.words[:1].upper() + signal.words[1:]
    if signal.key in ("agreement", "accuracy", "span_f1"):
        measured = "accuracy" if signal.key == "span_f1" else signal.key  # as its detector has it
        now, before = facts.get(measured), facts.get("reference")
        if now is not None and before is not None:
            return f"{name} fell from {ui.percent(before)} to {ui.percent(now)}."
    if signal.key == "whose_fault" and facts.get("kind") in FAULTS:
        told = (facts.get("kinds") or {}).get(facts["kind"]) or {}
        now, before = ui.percent(told.get("share")), ui.percent(told.get("reference"))
        return f"{FAULTS[facts['kind']]} on {now} of rows, {before} on the reference."
    if signal.group == QUALITY and facts.get("column") and score.get("value") is not None:
        column = str(facts["column"]).removeprefix("input.")
        where = "" if column == "rows" else f" in {column}"
        now, before = ui.percent(score["value"]), ui.percent(facts.get("reference"))
        return f"{name}{where}: {now} of rows, {before} on the reference."
    if signal.key in STREAMS:
        return f"{name}: their rate rose by {ui.percent(score.get('effect'))}."
    value, limit = score.get("value"), score.get("limit")
    if value is None:
        return f"{name} moved."
    beside = "" if limit is None else f", where chance reaches {limit:.3g}"
    measured = "" if signal.detector.lower() == signal.words.lower() else f"{signal.detector} "
    return f"{name} moved: {measured}{value:.3g}{beside}."


def advice(
    monitor: Monitor,
    found: Sequence[Signal],
    moved: Sequence[Signal],
    fault: Sequence[str] = (),
) -> str:
    """What to do about it: by whose fault it is (`fault_advice`), else by what can be known."""
    if not moved:
        return ""
    if any(one.group == QUALITY for one in moved):
        return (
            "Look at the data first: values are missing, new or out of range. What else moved may "
            "be no more than that, so nothing is retrained while it lasts."
        )
    if fault:
        return " ".join(fault)
    rang = [one for one in found if one.key in STREAMS and _rang(one)]
    if rang or any(one.key in HARM for one in moved):
        return f"The student does worse than it did: {_remedy(monitor)}"
    if all(one.group == TRAFFIC for one in moved):
        return "More or less came than usual, or answers took longer: ask who serves the model."
    by_key = {one.key: one for one in found}
    seen = [by_key[key] for key in HARM if key in by_key and by_key[key].level is not None]
    shown = [one for one in map(_measured, seen) if one]
    if any(map(incident_words.is_lower, shown)):
        return (
            "What comes is different, and the student seems to do worse on it: agreement or "
            "accuracy is lower than chance explains. Read the rows; the next windows will tell."
        )
    if shown and not any(map(incident_words.is_telling, shown)):
        return (
            "What comes is different, and too few rows have a label or the teacher's answer to say "
            "whether that does harm. Send more labels, or let the teacher be asked more often."
        )
    if seen:
        return (
            "What comes is different, but labels and teacher see no harm in it so far. Watch it; "
            "there is nothing to retrain for."
        )
    compared = ("accuracy", "agreement")
    if any(map(by_key.get, compared)) and not any(map((monitor.reference or {}).get, compared)):
        return (
            "What comes is different. Labels came, but how often the model was right on the "
            "reference is not known, so nobody can say whether it does worse. Take a time of "
            "traffic that has labels as the reference, or rows with the model's answers."
        )
    return (
        "What comes is different; whether that does harm nobody can tell yet. Send labels, or let "
        "the teacher be asked about a share of the rows."
    )


def _remedy(monitor: Monitor) -> str:
    """What helps such a student; not all can be retrained here (retraining/beginning.py)."""
    if monitor.privacy in (Monitor.Privacy.HASHED, Monitor.Privacy.DESCRIBED):
        return "read the rows. It keeps no inputs; let it keep them, to learn from those that come."
    if monitor.external:
        return "read the rows, and make a dataset of them for its next version, where it is made."
    if monitor.task == GENERATION_TASK:
        return (
            "read the rows, make a dataset of them with the right answers, and launch its run "
            "again with that version."
        )
    if monitor.task in UNLABELLED:
        return "read the rows, make a dataset of them, and launch its run again with that version."
    return "read the rows, then retrain it on them."


def _measured(signal: Signal) -> JSON:
    """A share of the newest window, its interval and the reference's; {} of whose fault it is."""
    facts = (signal.score or {}).get("facts") or {}
    if signal.key not in facts or not facts.get("interval"):
        return {}
    low, high = facts["interval"]
    return {"low": low, "high": high, "reference": facts.get("reference")}


def _rang(signal: Signal) -> bool:
    return any(one is not None and one >= 1 for one in signal.levels[-RECENT:])


def fault_advice(scores: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of the newest windows' scores, newest first: what it asks for that the student alone, or
    both, err more. Nothing where none of them says so surely: few rows of a window have both a
    label and an answer, so that silence is no proof."""
    for one in scores:
        told = ((one.get("whose_fault") or [{}])[0].get("facts")) or {}
        if told.get("grew"):
            return list(told.get("advice") or ())
    return []


def newest_fact(windows: Sequence[MonitorWindow], name: str) -> Any:
    """The newest that is known of a fact; of a share, if possible, of rows enough to say much."""
    known = [one.facts[name] for one in reversed(windows) if one.facts.get(name) is not None]
    enough = (one for one in known[:RECENT] if _rows(one) >= shares.FEW)
    return next(enough, known[0] if known else None)


def _rows(fact: Any) -> float:
    told = fact.get("rows") if isinstance(fact, Mapping) else None
    return float(told) if told is not None else shares.FEW


def versions(windows: Sequence[MonitorWindow]) -> list[tuple[int, str]]:
    """When another version began to answer most rows: (milliseconds, its name)."""
    found: list[tuple[int, str]] = []
    before = ""
    for window in windows:
        shares: JSON = window.facts.get("versions") or {}
        most = max(shares, key=lambda name: (shares[name], name), default="")
        if most and before and most != before:
            found.append((signals.milliseconds(window.starts_at), most))
        before = most or before
    return found
