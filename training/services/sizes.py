"""How many weights a model will have, as well as it is known before it is trained."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from projects.models import ModelVersion

EXAMPLE_CLASSES = 10  # that an architecture is counted for


@dataclass(frozen=True, slots=True)
class Size:
    parameters: int | None
    word: str = ""  # "at most", "about", or nothing where it is known


def of(
    version: ModelVersion | None,
    *,
    labels: Sequence[str] = (),
    others: Iterable[ModelVersion] | None = None,
) -> Size:
    """Of a version whose tokenizer is still to be trained, as many as a trained version of the same
    model and the same configuration has, those of the same labels first; else at most as many as a
    full vocabulary takes. `others` are the versions to look at, where the caller has them."""
    if version is None or version.parameters is None:
        return Size(None)
    if not version.is_upper_bound:
        return Size(version.parameters)
    if others is None:
        others = ModelVersion.objects.filter(model=version.model_id).order_by("-number")
    trained = [
        one
        for one in others
        if one.model_id == version.model_id
        and one.is_trained
        and one.parameters
        and one.source.get("kind") == "run"
        and one.config == version.config
    ]
    if trained:
        alike = [one for one in trained if list(one.labels) == list(labels)]
        return Size((alike or trained)[0].parameters, "about")
    # More classes than it was counted for make its last layer larger.
    return Size(version.parameters, "at most about" if len(labels) > EXAMPLE_CLASSES else "at most")
