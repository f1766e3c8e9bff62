"""Models and data as rows alone: what is known of them is all that is looked at before a run."""

from typing import Any

from projects.models import DatasetVersion, ModelVersion, Project
from tests import make
from tests.training.conftest import asked
from training.services import launching

FILES = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 1}]
LABELS = ("account", "billing", "delivery")
TOKENS = {"kind": "wordpiece", "vocabulary": 500, "trained": True, "sha256": "a" * 64}
HIDDEN = [{"kind": "hidden_states", "weight": 1.0}, {"kind": "hard_labels", "weight": 1.0}]
CHATTING: dict[str, Any] = {
    "task": "text-generation",
    "dataset": "chats@1",
    "losses": [{"kind": "hard_labels", "weight": 1.0}],
}


def network(
    project: Project, name: str, architecture: str = "bert", *, trained: bool = True, **fields: Any
) -> ModelVersion:
    given: dict[str, Any] = {"architecture": architecture, "parameters": 1_000_000}
    if trained:
        given |= {"files": FILES, "labels": list(LABELS), "tokenizer": TOKENS}
    return make.model_version(project, name, **given | fields)


def data(project: Project, **fields: Any) -> DatasetVersion:
    return make.dataset_version(project, "tickets", labels=LABELS, **fields)


def foresee(project: Project, **changes: Any) -> dict[str, Any]:
    return launching.foresee(project=project, configuration=asked(**changes))
