"""Whether a version keeps the rules of an alias: one function a rule, numbers and a sentence each.

What nobody measured does not hold: a rule says what to do about it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from distillhub.lib import storage
from distillhub.templatetags import ui
from projects.models import ModelVersion
from training import catalog
from training.models import Export, Run
from training.services import exports, promotion_rules, run_slices, scores, verdicts
from training.worker.challenge import Challenge, Untold, between
from training.worker.comparison import Measure

JSON = dict[str, Any]
LEVEL = 95  # per cent, of the intervals that are told


@dataclass(frozen=True, slots=True)
class Check:
    rule: str
    passed: bool
    sentence: str
    asked: float | bool | None = None
    found: float | None = None
    interval: list[float] | None = None
    rows: int | None = None
    slices: list[JSON] = field(default_factory=list)

    @property
    def label(self) -> str:
        return promotion_rules.LABELS[self.rule]

    def as_dict(self) -> JSON:
        return {name: getattr(self, name) for name in (*self.__slots__, "label")}


class Candidate:
    """A version that is to be promoted, and what is known of it."""

    def __init__(
        self, version: ModelVersion, champion: ModelVersion | None, rules: Mapping[str, Any]
    ) -> None:
        self.version, self.champion, self.rules = version, champion, rules

    @cached_property
    def run(self) -> Run | None:
        return exports.maker(self.version)

    @cached_property
    def export(self) -> Export | None:
        """The newest ready one of the form that is asked for."""
        form = self.rules.get("form")
        if not form:
            return None
        ready = Export.objects.filter(version=self.version, status=Export.Status.READY)
        return ready.filter(format=form).order_by("-pk").first()

    @property
    def form(self) -> str:
        """What is shipped, in words."""
        found = catalog.find("exporters", str(self.rules.get("form") or ""))
        return f"as {found['label']}" if found else "in PyTorch"

    @cached_property
    def challenge(self) -> Challenge:
        """Against the champion. Raises Untold."""
        assert self.champion is not None
        if self.run is None:
            raise Untold(f"No run here tested {self.version.reference}.")
        theirs = exports.maker(self.champion)
        if theirs is None:
            raise Untold(f"No run here tested {self.champion.reference}.")
        try:
            return between(self.run, theirs)
        except storage.Damaged:
            raise Untold("A file with answers to test rows is missing from storage.") from None


def check(candidate: Candidate) -> list[Check]:
    """Of every rule that asks something, in their order."""
    found = []
    for rule in promotion_rules.ASKING:
        asked = candidate.rules.get(rule)
        if asked in (None, False):
            continue
        if rule in promotion_rules.COMPARING and candidate.champion is None:
            found.append(Check(rule, True, "There is no champion yet to be worse than.", asked))
            continue
        found.append(_CHECKS[rule](candidate, asked))
    return found


# -- one function a rule --------------------------------------------------------------------------


def _retention(candidate: Candidate, asked: Any) -> Check:
    rule, run = "min_retention", candidate.run
    kept = scores.number((run.summary if run is not None else {}).get("retention"))
    if run is None or kept is None:
        why = f"Nobody knows what {candidate.version.reference} keeps of a teacher's score"
        return Check(rule, False, f"{why}: distil it in a run here.", asked)
    interval = run.summary.get("retention_interval")
    name = ui.measure(scores.headline(run))
    sentence = (
        f"It keeps {ui.percent(kept)} of its teacher's {name}"
        f"{_within(interval, ui.percent)}; at least {ui.percent(asked)} is asked."
    )
    return Check(rule, kept >= asked, sentence, asked, kept, interval)


def _score(candidate: Candidate, asked: Any) -> Check:
    rule, run = "min_score", candidate.run
    name = scores.headline(run) if run is not None else ""
    student = (run.summary.get("student") if run is not None else None) or {}
    value = scores.number(student.get(name))
    if run is None or value is None:
        why = f"No run here scored {candidate.version.reference} on test rows"
        return Check(rule, False, f"{why}: train it in one.", asked)
    falls = promotion_rules.falls(name)
    sentence = (
        f"Its {ui.measure(name)} on {ui.grouped(run.summary.get('rows', 0))} "
        f"{run.summary.get('split', 'test')} rows is {ui.metric(value, name)}; at "
        f"{'most' if falls else 'least'} {ui.metric(asked, name)} is asked."
    )
    passed = value <= asked if falls else value >= asked
    return Check(rule, passed, sentence, asked, value, rows=run.summary.get("rows"))


def _loss(candidate: Candidate, asked: Any) -> Check:
    rule, champion = "max_loss", candidate.champion
    assert champion is not None
    try:
        challenge = candidate.challenge
        found = challenge.whole()
    except Untold as why:
        return Check(rule, False, f"It cannot be held against {champion.reference}: {why}", asked)
    measure = challenge.measure
    low, high = found["interval"]
    worst = high if measure.falls else -low
    sentence = (
        f"{_begun(_difference(found['difference'], measure, champion))} on the "
        f"{ui.grouped(found['rows'])} rows that both were tested on "
        f"({measure.difference(low)} to {measure.difference(high)}, {LEVEL} %); it may be at most "
        f"{_size(asked, measure)} worse, at the worse end of the interval."
    )
    return Check(
        rule, worst <= asked, sentence, asked, found["difference"], [low, high], found["rows"]
    )


def _slice_loss(candidate: Candidate, asked: Any) -> Check:
    rule, champion, run = "max_slice_loss", candidate.champion, candidate.run
    assert champion is not None
    try:
        challenge = candidate.challenge
        assert run is not None
        slices = [(name, challenge.on(asks)) for name, asks in run_slices.known(run)]
    except Untold as why:
        return Check(rule, False, f"It cannot be held against {champion.reference}: {why}", asked)
    except storage.Damaged:
        return Check(rule, False, "A file that slices are told by is missing from storage.", asked)
    told, measure = [], challenge.measure
    for name, found in slices:
        if found is None:
            continue
        loss = found["difference"] if measure.falls else -found["difference"]
        told.append(
            {
                "name": name,
                "rows": found["rows"],
                "difference": found["difference"],
                "told": measure.difference(found["difference"]) + f" {measure.unit}".rstrip(),
                "interval": found["interval"],
                "few": found["few"],
                "passed": found["few"] or loss <= asked,
            }
        )
    failed = [one for one in told if not one["passed"]]
    counted = [one for one in told if not one["few"]]
    limit = f"at most {_size(asked, measure)} worse is asked"
    if failed:
        worst = max(failed, key=lambda one: abs(one["difference"]))
        others = f" {len(failed) - 1} more are too much worse, too." if failed[1:] else ""
        sentence = (
            f"On {worst['name']} it has {_difference(worst['difference'], measure, champion)}, "
            f"on {ui.grouped(worst['rows'])} rows; {limit}.{others}"
        )
    elif counted:
        sentence = f"On none of {len(counted)} saved slices is it much worse; {limit}."
    else:
        sentence = "No saved slice has enough rows that both were tested on."
    return Check(rule, not failed, sentence, asked, slices=told)


def _latency(candidate: Candidate, asked: Any) -> Check:
    rule, batch = "max_latency_ms", str(candidate.rules.get("batch", 1))
    if candidate.rules.get("form"):
        report = (candidate.export.report if candidate.export is not None else None) or {}
        timed = (report.get("latency_ms") or {}).get("after") or {}
    else:
        summary = candidate.run.summary if candidate.run is not None else {}
        timed = (summary.get("student") or {}).get("latency_ms") or {}
    value = scores.number((timed.get(batch) or {}).get("p95"))
    if value is None:
        return Check(rule, False, f"Nobody measured it {candidate.form}{_make(candidate)}.", asked)
    many = "one row" if batch == "1" else f"{batch} rows at once"
    sentence = (
        f"{many.capitalize()} {candidate.form} take{'s' if batch == '1' else ''} "
        f"{ui.milliseconds(value)} at the 95th percentile; at most {ui.milliseconds(asked)} is "
        "asked."
    )
    return Check(rule, value <= asked, sentence, asked, value)


def _bytes(candidate: Candidate, asked: Any) -> Check:
    rule, size = "max_size_bytes", candidate.version.size_bytes
    if candidate.rules.get("form"):
        report = (candidate.export.report if candidate.export is not None else None) or {}
        size = (report.get("size") or {}).get("after")
    if size is None:
        return Check(
            rule, False, f"There is no size of it {candidate.form}{_make(candidate)}.", asked
        )
    sentence = (
        f"Its weights {candidate.form} take {ui.filesize(size)}; at most {ui.filesize(asked)} is "
        "asked."
    )
    return Check(rule, size <= asked, sentence, asked, float(size))


def _export(candidate: Candidate, asked: Any) -> Check:
    rule = "needs_export"
    if candidate.export is None:
        return Check(rule, False, f"It was not made {candidate.form}{_make(candidate)}.", True)
    report = candidate.export.report or {}
    said = str(report.get("sentence", ""))
    if not report.get("recommended"):
        return Check(rule, False, f"Made {candidate.form}, and not recommended: {said}", True)
    return Check(rule, True, f"Made {candidate.form}, and held against the network. {said}", True)


def _verdict(candidate: Candidate, asked: Any) -> Check:
    rule, run = "not_hurt", candidate.run
    if run is None:
        return Check(rule, False, "No run here trained it, so there is no verdict.", True)
    verdict = verdicts.of_run(run)
    if verdict is not None:
        passed = verdict.get("answer") != "hurt"
        return Check(rule, passed, str(verdict.get("sentence", "")), True)
    if not run.config.get("teachers"):
        return Check(rule, True, "It learnt from labels alone: no teacher could hurt.", True)
    why = f"Run {run.number} had no control that finished, so nobody knows whether its teacher hurt"
    return Check(rule, False, f"{why}. Launch it again with `control`.", True)


_CHECKS: dict[str, Callable[[Candidate, Any], Check]] = {
    "min_retention": _retention,
    "min_score": _score,
    "max_loss": _loss,
    "max_slice_loss": _slice_loss,
    "max_latency_ms": _latency,
    "max_size_bytes": _bytes,
    "needs_export": _export,
    "not_hurt": _verdict,
}


# -- words ----------------------------------------------------------------------------------------


def _make(candidate: Candidate) -> str:
    return ": export it in that form" if candidate.rules.get("form") else ": train it in a run here"


def _within(interval: Any, spelt: Callable[[float], str]) -> str:
    if not interval:
        return ""
    low, high = (spelt(edge) for edge in interval)
    return f" ({LEVEL} % within {low} and {high})"


def _size(value: float, measure: Measure) -> str:
    spelt = f"{abs(value) * measure.factor:.{measure.places}f}".rstrip("0").rstrip(".")
    return f"{spelt} {measure.unit}".strip() if measure.unit else spelt


def _difference(value: float, measure: Measure, champion: ModelVersion) -> str:
    if value == 0:
        return f"as good as {champion.reference}"
    words = measure.better if (value < 0) == measure.falls else measure.worse
    size = f"{abs(value) * measure.factor:.{measure.places}f} {measure.unit}".strip()
    return f"{size} {words} than {champion.reference}"


def _begun(words: str) -> str:
    """As a sentence begins; `capitalize` would write names small."""
    return words[:1].upper() + words[1:]
