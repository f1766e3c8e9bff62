"""Whether a hosted teacher is still the one that it was, for people: by rows of the reference that
it is asked about daily (worker/monitor_teacher.py)."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from training.models import Monitor, TeacherQuestion
from training.worker import monitor_teacher

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Canaries:
    """`checks` are {"at", "rows", "same"}, oldest first; the first is how often the service says
    the same when it is asked twice in a row. `error` is why the newest asking failed."""

    rows: int = 0
    checks: list[JSON] = field(default_factory=list)
    is_asked: bool = False  # now
    error: str = ""

    @property
    def told(self) -> JSON:
        return {
            "sentence": self.sentence,
            "rows": self.rows,
            "checks": [one | {"at": one["at"].isoformat()} for one in self.checks],
            "error": self.error,
        }

    @property
    def sentence(self) -> str:
        if self.error and not self.checks:
            return f"The teacher could not be asked about rows of the reference: {self.error}"
        if not self.checks:
            return f"The teacher is asked about {self.rows} rows of the reference soon."
        first, newest = self.checks[0], self.checks[-1]
        twice = f"{first['same']} of {first['rows']}"
        if len(self.checks) == 1:
            return (
                f"Asked twice in a row, the teacher said the same of {twice} rows of the "
                "reference. It is asked about them again each day."
            )
        told = (
            f"On {newest['at']:%d %B} the teacher said of {newest['same']} of {newest['rows']} "
            f"rows of the reference what it said at first; of {twice}, when it was asked twice in "
            "a row."
        )
        return f"{told} The newest asking failed: {self.error}" if self.error else told


def of(monitor: Monitor) -> Canaries | None:
    """None where no service is asked, or nothing is there to ask it about. Two queries."""
    ids = (monitor.reference or {}).get("canaries") or []
    if not ids or not monitor_teacher.is_service(monitor):
        return None
    asked = list(
        monitor.questions.filter(
            kind=TeacherQuestion.Kind.CANARIES,
            version=monitor.teacher_id,
            created_at__gte=monitor.fitted_at,
        ).defer("body").order_by("pk")
    )  # fmt: skip
    ready = [one for one in asked if one.status == TeacherQuestion.Status.READY]
    newest = asked[-1] if asked else None
    failed = newest is not None and newest.status == TeacherQuestion.Status.FAILED
    return Canaries(
        rows=len(ids),
        checks=[
            one | {"at": datetime.fromtimestamp(one["at"], UTC)}
            for one in monitor_teacher.checks(ready)
        ],
        is_asked=newest is not None and not newest.is_final,
        error=str((newest.error or {}).get("detail", "")) if failed and newest else "",
    )
