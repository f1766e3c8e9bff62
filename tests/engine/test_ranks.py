"""Several processes train as one does: rows that speak to each other, and where to stop."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine import jobs, together
from training.engine import networks, ranks
from training.engine.errors import ConfigError

STEADY_BAG: jobs.JSON = {**jobs.SMALL_BAG, "dropout": 0.0, "word_dropout": 0.0}
PLAIN: jobs.JSON = {"optimizer": "sgd", "learning_rate": 0.03, "epochs": 2, "batch_size": 19}
JOINT: dict[str, list[jobs.JSON]] = {
    "relational": [{"kind": "relational"}, {"kind": "hard_labels", "weight": 0.5}],
    "contrastive": [{"kind": "contrastive", "bank": 40, "width": 8, "temperature": 0.5}],
    "dist": [{"kind": "dist"}, {"kind": "hard_labels", "weight": 0.5}],
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    output = folder / "output" / "model"
    return networks.load("tiny", output, "text-classification").module.state_dict()


def told(folder: Path, kind: str) -> list[jobs.JSON]:
    return [one for one in json.loads((folder / "told.json").read_text()) if one["type"] == kind]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, texts: jobs.JSON, teacher: Path
) -> dict[str, tuple[Path, list[Any], Path]]:
    """Each job done by one process, and by two; its two folders, and what the first has told."""
    home = tmp_path_factory.mktemp("ranks")
    asked: dict[str, jobs.JSON] = {
        name: {"losses": losses, "training": PLAIN} for name, losses in JOINT.items()
    }
    # 96 rows in batches of 19: the last holds one row, of which the second process has none
    asked["pieces"] = {
        "losses": JOINT["relational"],
        "training": {**PLAIN, "batch_size": 6, "gradient_accumulation": 4},
    }
    asked["stopped"] = {
        "losses": jobs.SOFT,
        "training": {**PLAIN, "epochs": 9, "early_stopping": 1, "learning_rate": 3.0},
    }
    folders = {}
    for name, how in asked.items():
        folders[name] = tuple(
            jobs.write(home / f"{name}-{size}", texts, teachers=[str(teacher)], options=STEADY_BAG,
                       **how)
            for size in (1, 2)
        )  # fmt: skip
    alone = {name: jobs.run(one) for name, (one, _) in folders.items()}
    together.processes(*(two for _, two in folders.values()))
    return {name: (one, alone[name], two) for name, (one, two) in folders.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*JOINT, "pieces"])
def test_rows_of_other_processes_are_compared_too(
    trained: dict[str, tuple[Path, list[Any], Path]], name: str
) -> None:
    one, said, two = trained[name]
    ours, theirs = weights(one), weights(two)
    for key, value in ours.items():
        assert torch.allclose(value, theirs[key], rtol=1e-3, atol=1e-4), key
    lines = [
        [line["values"]["train/loss"] for line in source if "train/loss" in line["values"]]
        for source in (together.steps(said), told(two, "Measured"))
    ]
    assert lines[0] == pytest.approx(lines[1], rel=1e-3, abs=1e-3)


@pytest.mark.slow
def test_processes_agree_on_the_best_step_and_where_to_stop(
    trained: dict[str, tuple[Path, list[Any], Path]],
) -> None:
    _, said, two = trained["stopped"]
    summary = told(two, "Finished")[0]["summary"]
    alone = said[-1].summary
    assert alone["epochs"] < 9
    for key in ("epochs", "steps", "best_step", "best_value"):
        assert summary[key] == pytest.approx(alone[key]), key
    assert summary["student"]["accuracy"] == alone["student"]["accuracy"]
    measured = [line["values"] for line in told(two, "Measured")]
    shares = [v["train/soft_targets_share"] for v in measured if "train/soft_targets_share" in v]
    assert shares
    assert all(0 < share < 1 for share in shares)


def test_parts_of_a_batch_make_the_batch_in_its_order() -> None:
    rows = torch.arange(7).numpy()
    parts = [ranks.Several(rank, 3, torch.device("cpu")).mine(rows) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 2, 2]
    assert [row for part in parts for row in part.tolist()] == rows.tolist()


def test_students_who_teach_each_other_do_not_compare_rows_over_pieces(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    folder = jobs.write(
        tmp_path, texts, scheme="mutual", losses=[{"kind": "dist"}, *jobs.HARD],
        training={"gradient_accumulation": 2},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="gradient accumulation of 1"):
        jobs.run(folder)


@pytest.mark.slow
def test_asked_to_stop_while_the_first_asks_a_teacher_all_leave(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    folder = jobs.write(tmp_path / "job", texts, teachers=[str(teacher)], options=STEADY_BAG)
    (folder / "stop-asking").touch()
    together.processes(folder)
    assert [one["type"] for one in json.loads((folder / "told.json").read_text())][-1] == "Halted"
    together.processes(folder)
    assert told(folder, "Finished")
