"""What MLflow calls things, whatever it keeps them in."""

import re
from collections.abc import Mapping

from training.trackers.found import CANCELLED, FAILED, FINISHED, FoundRun

NAME, NOTES, PARENT = "mlflow.runName", "mlflow.note.content", "mlflow.parentRunId"
SOURCE, USER = "mlflow.source.name", "mlflow.user"
KEY = re.compile(r"[0-9a-f]{32}")

#: By word, and by the number that folders hold.
STATES: Mapping[str, str] = {"FINISHED": FINISHED, "FAILED": FAILED, "KILLED": CANCELLED}
NUMBERS: Mapping[int, str] = {
    1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED",
}  # fmt: skip


def begin(
    key: str,
    *,
    name: str,
    status: str,
    started_ms: float | None,
    ended_ms: float | None,
    experiment: str,
    user: str,
) -> FoundRun:
    """A run of which the tags are not known yet."""
    return FoundRun(
        key=f"mlflow:{key}",
        name=name or key[:8],
        status=STATES.get(status, CANCELLED),
        is_open=status not in STATES,
        started=started_ms / 1000 if started_ms else None,
        ended=ended_ms / 1000 if ended_ms else None,
        about={"experiment": experiment, "user": user, "run_id": key},
    )


def tag(run: FoundRun, tags: Mapping[str, str]) -> None:
    """Notes and the like are tags there; tags of people become words here."""
    run.name = tags.get(NAME) or run.name
    run.notes = tags.get(NOTES, "")
    told = (("parent run", PARENT), ("program", SOURCE))
    run.about |= {name: tags[key] for name, key in told if tags.get(key)}
    if not run.about.get("user"):
        run.about["user"] = tags.get(USER, "")
    for name, value in tags.items():
        if not name.startswith("mlflow."):
            run.tags.append(f"{name}: {value}" if value else name)


def typed(text: str) -> int | float | str:
    """Parameters are texts there: a number where its text can be had back from it as it was."""
    if len(text) > 20 or not re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text, re.ASCII):
        return text
    number: int | float = int(text) if re.fullmatch(r"-?\d+", text) else float(text)
    is_plain = number == 0 or 1e-15 <= abs(number) < 1e15
    return number if is_plain and repr(number) == text else text
