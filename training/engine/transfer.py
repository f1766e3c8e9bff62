"""Whether a backbone may be frozen, as far as a configuration tells. No torch here; which weights
are the backbone's says freezing.py."""

from collections.abc import Sequence
from typing import Protocol

from training.engine.errors import Fault
from training.engine.terms import Loss, Methods, Stage, find

FIELD = "training.freeze"


class Asked(Protocol):
    """Of a run's training options those that matter here."""

    @property
    def freeze(self) -> str: ...
    @property
    def lora_rank(self) -> int | None: ...
    @property
    def sharding(self) -> str: ...


def check(
    training: Asked,
    task: str,
    losses: Sequence[Loss],
    stages: Sequence[Stage],
    methods: Methods,
) -> list[Fault]:
    """Every reason why not, each at its field."""
    if training.freeze == "none":
        return []
    faults = []
    metrics = (find(methods, "tasks", task) or {}).get("metrics", {})
    if "embedding" in metrics:
        sentence = "A network that makes vectors has no head that could learn alone."
        faults.append(Fault(FIELD, sentence))
    if training.lora_rank:
        sentence = "Adapters are what learns of a backbone, and this one is frozen: choose one."
        faults.append(Fault(FIELD, sentence))
    if training.sharding != "none":
        sentence = "A head alone needs no sharding: its backbone has no gradients and no moments."
        faults.append(Fault(FIELD, sentence))
    every = [*losses, *(loss for stage in stages for loss in stage.losses)]
    compared = [one.kind for one in every if (find(methods, "losses", one.kind) or {}).get("wants")]
    if compared:
        sentence = (
            f"{compared[0]} compares what stands before the head, and nothing of it learns here. "
            "Leave the term out, or train the whole student."
        )
        faults.append(Fault(FIELD, sentence))
    return faults
