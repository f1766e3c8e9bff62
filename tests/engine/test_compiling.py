"""A compiled student is the same student."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.engine import jobs
from training.engine.errors import ConfigError
from training.engine.events import Measured

STEADY_BAG: jobs.JSON = {**jobs.SMALL_BAG, "dropout": 0.0, "word_dropout": 0.0}


def losses(folder: Path, **how: object) -> list[float]:
    told = jobs.of(jobs.run(folder, **how), Measured)
    return [one.values["train/loss"] for one in told if "train/loss" in one.values]


def job(folder: Path, texts: jobs.JSON, **training: object) -> Path:
    return jobs.write(
        folder, texts, options=STEADY_BAG, evaluate=False,
        training={"learning_rate": 0.01, "epochs": 2, "batch_size": 32, **training},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_student_takes_the_steps_of_a_plain_one_and_comes_back(
    tmp_path: Path, texts: jobs.JSON
) -> None:
    plain = losses(job(tmp_path / "plain", texts))
    whole = job(tmp_path / "compiled", texts, compile=True)
    assert losses(whole) == pytest.approx(plain, rel=1e-4)
    names = [
        set(load_file(one / "output" / "model" / "model.safetensors"))
        for one in (tmp_path / "plain", whole)
    ]
    assert names[0] == names[1]
    broken = job(tmp_path / "broken", texts, compile=True)
    steps = iter(range(100))
    jobs.run(broken, asked_to_stop=lambda: next(steps) >= 4)
    jobs.run(broken, resuming=True)
    assert jobs.weights(broken) == jobs.weights(whole)


def test_a_machine_without_a_compiler_refuses_before_training(
    tmp_path: Path, texts: jobs.JSON, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ConfigError, match=r"C\+\+ compiler"):
        jobs.run(job(tmp_path / "job", texts, compile=True))


def test_layers_are_not_watched_through_a_compiled_network(
    tmp_path: Path, texts: jobs.JSON, teacher: Path
) -> None:
    folder = jobs.write(
        tmp_path, texts, options=STEADY_BAG, teachers=[str(teacher)],
        losses=[{"kind": "relational"}], training={"compile": True},
    )  # fmt: skip
    with pytest.raises(ConfigError, match="last vectors"):
        jobs.run(folder)
