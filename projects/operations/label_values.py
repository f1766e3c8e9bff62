"""A label as people write it, as it is stored."""

from projects.ingest import labels, numbers
from projects.ingest.formats import MOST_LABEL, MULTI, REGRESSION, TOKENS_TASK, BadFile
from projects.models import DatasetVersion


class NoLabel(ValueError):
    """The text is no label of this dataset."""


def stored(version: DatasetVersion, text: str) -> str | None:
    """Raises NoLabel."""
    label = text.strip()
    if not label:
        return None
    try:
        if version.problem == REGRESSION:
            value = numbers.number(label, comma=False)
            return None if value is None else numbers.written(value)
        if version.problem == MULTI:
            return version.separator.join(labels.several(label, version.separator)) or None
    except (numbers.NotANumber, BadFile):
        raise NoLabel(f"{label[:50]!r} is no label of") from None
    if len(label) > MOST_LABEL and version.dataset.task != TOKENS_TASK:
        raise NoLabel(f"{label[:20]!r}… is too long for a label of")
    return label
