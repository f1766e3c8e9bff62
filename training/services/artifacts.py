"""Files a run left, and what stands in them."""

import json
from typing import IO, Any

from distillhub.lib import storage
from distillhub.lib.errors import Missing, Unavailable
from training.models import Artifact, Run


class NotEvaluated(Missing):
    code = "not_evaluated"


def find(*, run: Run, name: str) -> Artifact:
    """Raises Missing."""
    artifact = run.artifacts.filter(name=name).first()
    if artifact is None:
        raise Missing(f"Run {run.number} has no file {name}.")
    return artifact


def open_file(*, artifact: Artifact) -> IO[bytes]:
    """A readable stream of its bytes. Raises Unavailable when storage has lost them."""
    try:
        return storage.open_blob(artifact.sha256)
    except storage.Damaged:
        raise Unavailable(f"{artifact.name} is missing from storage.") from None


def evaluation(*, run: Run) -> dict[str, Any]:
    """The engine's `evaluation.json`, with `comparison` (against the control, or null), `control`
    (the summary of the control's own evaluation, or null) and `saved_slices`, what is known of the
    slices that the run keeps.

    Raises NotEvaluated before the run has been evaluated.
    """
    artifact = run.artifacts.filter(kind="evaluation").order_by("-pk").first()
    if artifact is None:
        raise NotEvaluated(f"Run {run.number} has not been evaluated (it is {run.status}).")
    with open_file(artifact=artifact) as file:
        found: dict[str, Any] = json.load(file)
    control = run.controls.order_by("number").first()
    return found | {
        "comparison": run.comparison,
        "saved_slices": list(run.slices.values("name", "conditions", "told", "scores")),
        "control": None
        if control is None
        else {"run": control.number, "status": control.status, **control.summary},
    }
