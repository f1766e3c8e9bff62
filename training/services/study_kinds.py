"""The kinds of studies, by key. A new one is a module with a `KIND`, and one line here."""

from training.services import study_finals, study_seeds, study_strategies, sweeps
from training.services.study_parts import Kind

KINDS: dict[str, Kind] = {
    one.key: one
    for one in (study_seeds.KIND, study_strategies.KIND, sweeps.KIND, study_finals.KIND)
}


def label_of(kind: str, arm: str) -> str:
    """What a way of training is called."""
    known = KINDS[kind].arms if kind in KINDS else {}
    return known.get(arm, arm.replace("_", " ").capitalize())
