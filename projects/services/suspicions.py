"""Labels that are probably wrong, by probabilities that others have: a teacher's, or a run's."""

from __future__ import annotations

from typing import Any

from distillhub.lib.errors import Invalid
from distillhub.lib.later import np
from projects.ingest import confident, page
from projects.models import DatasetVersion
from projects.services import datasets


def suspected(
    *,
    version: DatasetVersion,
    row_ids: np.ndarray[Any, Any],
    probabilities: np.ndarray[Any, Any],
) -> dict[int, str]:
    """{row: the label that it should perhaps have}, for the changes of the operation `edit`.

    `probabilities` [rows, classes], in the order of the version's labels, by a model that did not
    learn from these rows: of one that did, hardly a wrong label shows. Rows without a label are
    passed over. Raises NotReady, and Invalid where rows or classes are not the version's.
    """
    datasets.require_ready(version)
    if probabilities.shape != (len(row_ids), len(version.labels)):
        raise Invalid("There must be a probability of each label for each row.")
    if len(row_ids) and not 0 <= row_ids.min() <= row_ids.max() < version.rows:
        raise Invalid(f"{version.reference} has no such row.")
    place = {name: index for index, name in enumerate(version.labels)}
    with datasets.open_file(version=version) as stream:
        rows = page.these(stream, row_ids, without=("image", "audio", "text"))
    given = np.array([place.get(row["label"], -1) for row in rows], dtype=np.int64)
    known = np.flatnonzero(given >= 0)
    places, better = confident.suspected(probabilities[known], given[known])
    ids = row_ids[known][places]
    return {int(row_id): version.labels[int(one)] for row_id, one in zip(ids, better, strict=True)}
