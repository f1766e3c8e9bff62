"""Reasons learned beside answers: which tokens are whose, and that only answers are judged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.engine import jobs, writings
from training.engine import data, language, networks, options
from training.engine.answers import Answer
from training.engine.data import NO_UNIT, of_rationale
from training.engine.errors import ConfigError
from training.engine.events import Finished, Measured
from training.engine.language import FOR_ANSWER, FOR_RATIONALE, LanguagePreprocessing
from training.engine.losses import LOSSES, Loss
from training.engine.presets import PRESETS
from training.engine.windows import LanguageInputs

BOTH = list(PRESETS["step_by_step"].losses)
WIDE: dict[str, Any] = {**writings.SMALL, "max_length": 48}


@pytest.fixture(scope="module")
def reasoned(tmp_path_factory: pytest.TempPathFactory) -> jobs.JSON:
    return writings.reasoned(tmp_path_factory.mktemp("reasoned") / "dataset.parquet")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, reasoned: jobs.JSON) -> Path:
    folder = writings.write(tmp_path_factory.mktemp("trained"), reasoned, losses=BOTH, options=WIDE)
    told = jobs.run(folder)
    assert jobs.of(told, Finished)
    (folder / "told.json").write_text(json.dumps([one.values for one in jobs.of(told, Measured)]))
    return folder


def reader(folder: Path) -> LanguagePreprocessing:
    network = networks.load("tiny", folder / "output" / "model", "text-generation")
    assert isinstance(network.preprocessing, LanguagePreprocessing)
    return network.preprocessing


def term(kind: str) -> Loss:
    method = LOSSES[kind]
    return method(options.build(method.Options, {}))


def test_each_term_speaks_about_its_own_tokens_only() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([3, -1, int(of_rationale(2)), int(of_rationale(0)), 6])
    answers, reasons = term("hard_labels"), term("rationale")
    assert answers.speaks(labels).tolist() == [True, False, False, False, True]
    assert reasons.speaks(labels).tolist() == [False, False, True, True, False]
    expected = F.cross_entropy(logits, torch.tensor([3, 0, 2, 0, 6]), reduction="none")
    said = answers.values(Answer(logits), None, labels)
    assert torch.equal(said, expected * answers.speaks(labels))
    why = reasons.values(Answer(logits), None, labels)
    assert torch.equal(why, expected * reasons.speaks(labels))


def test_a_row_is_read_once_for_its_answer_and_once_for_its_reasons(
    trained: Path, reasoned: jobs.JSON
) -> None:
    reads = reader(trained)
    inputs = reads.prepare(Path(reasoned["path"]), trained / "again")
    assert isinstance(inputs, LanguageInputs)
    assert inputs.rationale.tolist() == [False, True] * 28 + [False] * 2  # two rows have none
    batch = inputs.batch(np.array([0, 1]))
    prompts, answers, reasons = next(
        data.columns(Path(reasoned["path"]), "prompt", "text", "rationale")
    )
    for row, (begins, words) in enumerate(((FOR_ANSWER, answers[0]), (FOR_RATIONALE, reasons[0]))):
        targets = batch["targets"][row]
        spoken = targets[targets != NO_UNIT]
        tokens = spoken if row == 0 else of_rationale(spoken)
        assert (spoken >= 0).all() if row == 0 else (spoken < -1).all()
        assert reads.decode(tokens.tolist()) == words
        assert reads.decode(batch["input_ids"][row].tolist()).startswith(begins + prompts[0])


def test_only_answers_are_judged_and_a_prompt_is_asked_for_its_answer(
    trained: Path, reasoned: jobs.JSON
) -> None:
    reads = reader(trained)
    inputs = reads.prepare(Path(reasoned["path"]), trained / "again")
    assert isinstance(inputs, LanguageInputs)
    divided = inputs.divided(writings.opened(reasoned))
    assert not inputs.rationale[divided.splits["validation"]].any()
    assert not inputs.rationale[divided.splits["test"]].any()
    assert inputs.rationale[divided.splits["train"]].any()
    assert reads.decode(reads.prompt("red blue")).startswith(FOR_ANSWER)


def test_both_parts_are_learned_and_told_apart(trained: Path) -> None:
    told = json.loads((trained / "told.json").read_text())
    both = {"train/rationale", "train/hard_labels"}
    steps = [one for one in told if both <= set(one)]
    assert len(steps) > 4
    for kind in ("rationale", "hard_labels"):
        assert steps[-1][f"train/{kind}"] < steps[0][f"train/{kind}"]
    for one in steps:
        halves = 0.5 * one["train/rationale"] + 0.5 * one["train/hard_labels"]
        assert one["train/loss"] == pytest.approx(halves, rel=1e-4)


def test_the_total_of_a_vocabulary_in_chunks_is_that_of_whole_logits(
    tmp_path: Path, reasoned: jobs.JSON, trained: Path
) -> None:
    again = writings.write(tmp_path, reasoned, losses=BOTH, options=WIDE,
                           training={"gradient_accumulation": 2, "batch_size": 4})  # fmt: skip
    jobs.run(again)
    one, other = (
        networks.load("tiny", folder / "output" / "model", "text-generation").module.state_dict()
        for folder in (trained, again)
    )
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-4)


def test_a_run_that_learns_no_reasons_reads_by_the_same_tokens(
    tmp_path: Path, reasoned: jobs.JSON, trained: Path
) -> None:
    """So that a control is judged by the same units."""
    control = writings.write(
        tmp_path, reasoned, losses=[{"kind": "hard_labels", "weight": 1.0}], options=WIDE
    )
    jobs.run(control)
    plain, both = reader(control), reader(trained)
    assert plain.tokenizer.to_str() == both.tokenizer.to_str()
    assert not plain.rationales
    assert plain.digest != both.digest


def test_a_teachers_probabilities_teach_reasons_as_well(
    tmp_path: Path, reasoned: jobs.JSON, trained: Path
) -> None:
    folder = writings.write(
        tmp_path, reasoned, teachers=[str(trained / "output" / "model")],
        losses=[*BOTH, {"kind": "soft_targets", "weight": 1.0, "temperature": 1.0}],
    )  # fmt: skip
    assert jobs.of(jobs.run(folder), Finished)


@pytest.mark.parametrize("make", [writings.texts, writings.questions])
def test_rows_without_reasons_are_refused(tmp_path: Path, make: Any) -> None:
    dataset = make(tmp_path / "dataset.parquet")
    with pytest.raises(ConfigError, match="column rationale"):
        jobs.run(writings.write(tmp_path / "job", dataset, losses=BOTH))


def test_inputs_made_before_there_were_reasons_still_open(
    tmp_path: Path, reasoned: jobs.JSON, trained: Path
) -> None:
    reads = reader(trained)
    reads.prepare(Path(reasoned["path"]), tmp_path)
    made = tmp_path / reads.digest[:32]
    (made / "rationale.npy").unlink()
    inputs = LanguageInputs(made, reads.pad, reads.end, reads.digest, reads.decode)
    assert not inputs.rationale.any()


def test_a_saved_reader_knows_whether_reasons_are_read(trained: Path) -> None:
    said = reader(trained).as_dict()
    assert said["rationales"] is True
    assert "rationales" not in language.learn(["a b"], language.Wish()).as_dict()
