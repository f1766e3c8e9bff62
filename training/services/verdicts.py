"""Whether its teacher helped what a run has trained."""

from collections.abc import Mapping
from typing import Any

from training.models import Run


def of_run(run: Run) -> Mapping[str, Any] | None:
    """`{"answer", "sentence", ...}`: of the study it belongs to, which counts all seeds, where that
    held its way of training against labels alone; else of its own control; None where there is
    neither."""
    compared = (run.study.report or {}).get("comparisons", []) if run.study else []
    for one in compared:
        if (one.get("arm"), one.get("against")) == (run.arm, "control") and one.get("answer"):
            found: Mapping[str, Any] = one
            return found
    return run.comparison
