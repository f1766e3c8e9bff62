"""Files a run left, and what stands in them."""

import json
from typing import IO, Any

from distillhub.lib import storage
from distillhub.lib.errors import Missing, Unavailable
from projects.models import ModelVersion
from training.models import Artifact, Run
from training.services import derivations


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


def lineage(*, run: Run) -> dict[str, Any]:
    """The graph from this run back to its data: `{"nodes": [...], "edges": [...]}`.

    A node has an `id` such as `run/3`, `tickets@1` or `tiny@2`, and a `kind` (run, dataset, model);
    an edge goes from what was used to what used it, and says as what.
    """
    nodes: dict[str, dict[str, Any]] = {}
    edges: list[dict[str, str]] = []
    waiting, seen = [run], set()

    def come_from(version: ModelVersion) -> None:
        """The model, the run that left it, and the model whose weights it was made of."""
        if version.reference in nodes:
            return
        nodes[version.reference] = _model_node(version)
        made_by = Run.objects.filter(output=version).first()
        if made_by is not None:
            edges.append({"from": f"run/{made_by.number}", "to": version.reference, "as": "output"})
            waiting.append(made_by)
        giver = derivations.giver(version=version)
        if giver is not None:
            edges.append({"from": giver.reference, "to": version.reference, "as": "weights"})
            come_from(giver)
        if version.is_recorded:
            origin = str(version.source["dataset"])
            rows = sum(version.source["rows"].values())
            mark = version.source["fingerprint"]
            nodes[origin] = {"id": origin, "kind": "dataset", "rows": rows, "fingerprint": mark}
            edges.append({"from": origin, "to": version.reference, "as": "answers"})

    while waiting:
        one = waiting.pop()
        if one.pk in seen:
            continue
        seen.add(one.pk)
        here = f"run/{one.number}"
        nodes[here] = {
            "id": here,
            "kind": "run",
            "number": one.number,
            "name": one.name,
            "status": one.status,
        }
        data = one.dataset_version
        if data is not None:
            nodes[data.reference] = {
                "id": data.reference,
                "kind": "dataset",
                "rows": data.rows,
                "fingerprint": data.fingerprint,
            }
            edges.append({"from": data.reference, "to": here, "as": "dataset"})
        used = [("teacher", version) for version in one.teachers.select_related("model")]
        if one.student is not None:
            used.insert(0, ("student", one.student))
        for role, version in used:
            edges.append({"from": version.reference, "to": here, "as": role})
            come_from(version)
        if one.pk == run.pk and one.output is not None:
            nodes[one.output.reference] = _model_node(one.output)
            edges.append({"from": here, "to": one.output.reference, "as": "output"})
    return {"nodes": list(nodes.values()), "edges": edges}


def _model_node(version: ModelVersion) -> dict[str, Any]:
    return {
        "id": version.reference,
        "kind": "model",
        "role": version.model.role,
        "architecture": version.architecture,
        "parameters": version.parameters,
        "source": version.source.get("kind"),
    }
