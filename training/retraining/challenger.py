"""The challenger: the champion's configuration on old and live rows, with its control."""

from __future__ import annotations

from typing import Any

from training import catalog
from training.models import Retraining, Run
from training.retraining import beginning, steps
from training.retraining.collecting import Stopped
from training.retraining.steps import Status
from training.services import launching

TAG = "retraining"


def train(retraining: Retraining) -> None:
    """Launch the run, and wait until it and its control are over. Raises Stopped, and what
    `launching.launch` does."""
    if retraining.run is None:
        with steps.locked(retraining, Status.TRAINING) as row:
            if row.run_id is None:
                _launch(row)
        return
    run = retraining.run
    if not run.is_final:
        steps.note(retraining, f"Run {run.number} trains the challenger ({run.status}).")
        return
    if run.status != Run.Status.FINISHED:
        detail = (run.error or {}).get("detail", "")
        raise Stopped("training", f"Run {run.number} is {run.status}. {detail}".strip())
    control = run.controls.unfinished().first()
    if control is not None:
        steps.note(retraining, f"Run {control.number}, the control, trains ({control.status}).")
        return
    if run.output is None:
        raise Stopped("training", f"Run {run.number} left no model, or it was deleted.")
    with steps.locked(retraining, Status.TRAINING) as row:
        sentence = f"Run {run.number} made {run.output.reference}, the challenger."
        steps.write(row, Status.JUDGING, sentence, challenger=run.output)


def _launch(row: Retraining) -> None:
    champion, version = row.champion, row.dataset_version
    origin = None if champion is None else beginning.run_of(champion)
    if champion is None or origin is None or version is None:
        raise Stopped("gone", "The champion, its run or the rows were deleted meanwhile.")
    configuration = configuration_of(origin, retraining=row)
    made = launching.launch(project=row.project, configuration=configuration, by=row.created_by)
    made.tags = [TAG]
    made.notes = f"Retraining {row.number} of {row.monitor.name}, to follow {champion.reference}."
    made.save(update_fields=["tags", "notes"])
    beside = made.controls.first()
    sentence = f"Run {made.number} trains the challenger: run {origin.number} again, on "
    sentence += f"{version.reference}"
    if beside is not None:
        sentence += f", and run {beside.number} the same student on its labels alone"
    steps.write(row, Status.TRAINING, f"{sentence}.", run=made)


def configuration_of(origin: Run, *, retraining: Retraining) -> dict[str, Any]:
    """What the champion's run was, on other rows."""
    assert retraining.dataset_version is not None
    asked = launching.configuration_of(run=origin)
    taught = bool(asked.get("teachers")) or catalog.generations(asked["scheme"]) > 0
    return {
        **asked,
        "name": f"{origin.name.split(' · retraining')[0][:170]} · retraining {retraining.number}",
        "dataset": retraining.dataset_version.reference,
        "control": bool(retraining.policy["control"] and taught),
        "exports": asked.get("exports", []),
    }
