"""What people can hear of: topics, each some kinds of events, with what holds unless they say
otherwise. Rules of a person (NotificationRule) are by topic, for all projects or for one."""

from collections.abc import Mapping
from dataclasses import dataclass

MINE, ALL = "mine", "all"
WHOSE = (MINE, ALL)


@dataclass(frozen=True, slots=True)
class Topic:
    key: str
    label: str  # begins a line of the settings
    hint: str
    kinds: tuple[str, ...]  # of projects/models/event_kinds.py
    whose: str = MINE  # unless a person says otherwise
    on_page: bool = True
    by_email: bool = False
    #: Whom events of it concern: those that the event names, and nobody else. `whose` says nothing.
    named: bool = False
    #: The least role of whom it concerns.
    for_editors: bool = False
    #: A fact with people: where it names somebody, they hear by another topic, and nobody by this.
    for_nobody: str = ""


_ALL = (
    Topic("mentioned", "Somebody mentions me", "In a comment, by @ and your username.",
          ("comment.created", "comment.changed"), named=True, by_email=True),
    Topic("comment", "Comments", "On what is mine, and where I have commented; or on everything.",
          ("comment.created",)),
    Topic("run_failed", "A run fails", "With the reason.", ("run.failed",), by_email=True),
    Topic("run_finished", "A run is finished", "With what it reached.", ("run.finished",)),
    Topic("beat_the_best", "A run beats the best",
          "Better than every other run of its task on the same data.", ("run.beat_the_best",)),
    Topic("study_finished", "A study or sweep is over", "With its verdict.",
          ("study.finished", "study.failed")),
    Topic("work_failed", "Other work fails", "Data, models, exports, gates, publications.",
          ("dataset_version.failed", "model_version.failed", "export.failed", "gate.failed",
           "publication.failed", "import.failed"), by_email=True),
    Topic("work_ready", "Other work is ready", "Data, models, exports, gates, publications.",
          ("dataset_version.ready", "model_version.ready", "export.ready", "gate.ready",
           "publication.ready", "import.ready"), on_page=False),
    Topic("drift_alert", "A monitor alarms", "An incident opens or gets worse.",
          ("incident.opened", "incident.worsened"), whose=ALL, by_email=True),
    Topic("incident_assigned", "An incident is given to me", "You are to look after it.",
          ("incident.assigned",), named=True, by_email=True),
    Topic("retraining", "A retraining needs or made a decision", "Proposed, to decide, promoted.",
          ("retraining.proposed", "retraining.deciding", "retraining.promoted",
           "retraining.kept", "retraining.failed"), whose=ALL),
    Topic("review_assigned", "A review is given to me", "I am asked to look at its rows.",
          ("review.assigned",), named=True, by_email=True),
    Topic("review_opened", "Rows wait for review", "Of reviews for which nobody is asked.",
          ("review.opened",), whose=ALL, for_editors=True, for_nobody="assignees"),
    Topic("alias_moved", "An alias moves", "Another version is in production, say.",
          ("alias.moved",), whose=ALL, on_page=False),
    Topic("report_published", "A report is published", "Its public link was made.",
          ("report.published",), whose=ALL),
    Topic("invited", "I am let into a project", "Or my role in one changes.",
          ("member.added", "member.changed"), named=True, by_email=True),
    Topic("webhook_off", "A webhook is turned off", "It failed for days, or its receiver is gone.",
          ("webhook.turned_off",), by_email=True),
)  # fmt: skip

TOPICS: Mapping[str, Topic] = {topic.key: topic for topic in _ALL}

#: Topics by kind of event; the first that concerns a person is theirs.
BY_KIND: Mapping[str, tuple[Topic, ...]] = {
    kind: tuple(topic for topic in _ALL if kind in topic.kinds)
    for topic in _ALL
    for kind in topic.kinds
}
