"""What a teacher of banking77 said, written into columns: a student that learns from the columns is
the student that learns from the teacher itself.

Thinned, so that it is quick. The whole, with more seeds, as in docs/results.md:

    ANNOTATE_LABELS=77 ANNOTATE_SEEDS=3 pytest tests/training/test_recorded_banking.py -s -m slow
"""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from distillhub.lib import storage
from projects.models import ModelVersion, Project, User
from tests import make
from tests.training.test_annotate import annotate, newest, upload_file
from tests.training.test_annotate_banking import SEEDS, STUDENT, TEACHER, halves, trained
from training.models import Run

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("worker"),
    pytest.mark.slow,
]


def answers(run: Run, folder: Path) -> list[str]:
    """What its student says of each test row."""
    file = run.artifacts.get(kind="predictions")
    path = folder / f"{run.number}.parquet"
    storage.local_copy(file.sha256, path)
    said: list[str] = pq.read_table(path)["student"].to_pylist()
    return said


def test_a_student_of_the_columns_is_the_student_of_the_teacher(
    project: Project, erin: User, shared_data: Path, tmp_path: Path
) -> None:
    client = upload_file(erin, halves(shared_data))
    make.model_version(project, "wise", role="teacher", config=TEACHER)
    make.model_version(project, "small", config=STUDENT)
    teacher = trained(project, 1e-3, dataset="tickets@1", student="wise@1")
    made = annotate(
        client, teacher=f"run/{teacher.number}", unlabelled=False, write=["probabilities"]
    )
    assert made.status_code == 201, made.data
    source = {"kind": "column", "dataset": newest().reference}
    body = {"name": "said", "role": "teacher", "task": "text-classification", "source": source}
    made = client.post("/api/v1/projects/intents/models/", body, format="json")
    assert made.status_code == 201, made.data
    said = ModelVersion.objects.get(model__name="said")
    assert said.source["answered"] == said.source["rows"]

    for seed in range(SEEDS):
        live, column = (
            trained(project, 4e-3, seed, dataset="tickets@2", student="small@1", teachers=[one])
            for one in (f"run/{teacher.number}", "said@1")
        )
        alike = [
            one == other
            for one, other in zip(answers(live, tmp_path), answers(column, tmp_path), strict=True)
        ]
        print(
            f"\nseed {seed}: accuracy of the teacher {live.summary['teacher']['accuracy']:.4f}, "
            f"live {live.metrics['test/accuracy']:.4f}, "
            f"from columns {column.metrics['test/accuracy']:.4f}, "
            f"kl {live.metrics['test/kl']:.5f} and {column.metrics['test/kl']:.5f}, "
            f"the same answer on {sum(alike)} of {len(alike)} rows",
            flush=True,
        )
        assert column.summary["teacher"]["accuracy"] == live.summary["teacher"]["accuracy"]
        assert sum(alike) > 0.98 * len(alike)
        near = pytest.approx(live.metrics["test/accuracy"], abs=0.01)
        assert column.metrics["test/accuracy"] == near
