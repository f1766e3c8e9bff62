"""A model that learned to write here answers prompts, in a process of the engine."""

from typing import Any

import pytest

from projects.models import Project, User
from tests import make
from tests.training.test_annotate import make_all, newest, rows_of
from tests.training.test_generate import made_by, upload
from training.services import launching
from training.worker import runs as executing

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]
GRU: dict[str, Any] = {
    "tokenizer": "character",
    "vocabulary": 128,
    "max_length": 32,
    "dim": 16,
    "hidden": 64,
}
WORDS = ("red", "blue", "green")


def test_a_model_with_weights_answers_the_prompts_of_a_dataset(
    project: Project, erin: User
) -> None:
    lines = [f"{n} color {n % 3},{WORDS[n % 3]}" for n in range(240)]
    table = "\n".join(["prompt,text", *lines])
    client = upload(
        erin, table, task="text-generation", columns='{"prompt": "prompt", "text": "text"}'
    )
    make.model_version(
        project, "poet", role="teacher", task="text-generation",
        architecture="gru_language_model", config=GRU,
    )  # fmt: skip
    run = launching.launch(
        project=project,
        configuration={
            "task": "text-generation",
            "dataset": "tickets@1",
            "student": "poet@1",
            "training": {"epochs": 10, "batch_size": 16, "learning_rate": 0.01},
        },
        by=erin,
    )
    executing.execute(run.pk)
    run.refresh_from_db()
    assert run.status == "finished", run.error

    made = made_by(client, teacher="run/1", how="answers", temperature=0, max_tokens=8)
    assert made.status_code == 201, made.data
    make_all()
    rows = rows_of(client, newest())
    assert {row["text"] for row in rows} == set(WORDS)
    assert all(row["text"] == WORDS[int(row["prompt"][-1])] for row in rows)
    assert {row["teacher"] for row in rows} == {"poet@2"}
    assert newest().statistics["operation"]["answered"] == len(rows)

    refused = made_by(client, teacher="run/1", how="new")
    assert refused.status_code == 400
    assert "services alone" in refused.data["fields"]["how"][0]
