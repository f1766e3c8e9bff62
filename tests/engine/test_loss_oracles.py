"""Our terms give other libraries' numbers, once conventions are translated.

`oracles/recorded.json` holds what torchdistill and TRL answered for tensors that a seed describes,
in value and gradient (`oracles/record.py` says how). Each test names what differs by convention.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.engine.oracles import tensors
from tests.engine.spoken import Case
from training.engine.answers import Answer
from training.engine.losses import Loss

JSON = dict[str, Any]
RECORDED: list[JSON] = json.loads(
    (Path(__file__).parent / "oracles" / "recorded.json").read_text(encoding="utf-8")
)
Terms = list[tuple[float, Loss]]
LABELS = torch.arange(8) % 5


def of(*names: str) -> Any:
    """Parametrise over the records of these names."""
    found = [one for one in RECORDED if one["name"] in names]
    assert found
    return pytest.mark.parametrize(
        "record", found, ids=[f"{one['name']}-{one['inputs']['seed']}" for one in found]
    )


def term(key: str, **values: Any) -> Loss:
    return Case(key).term(**values)


def agrees(record: JSON, terms: Terms, *, rel: float = 1e-6, places: str = "logits") -> None:
    """The weighted total of the mean of these terms' values has the recorded value and gradient."""
    said, taught = (torch.tensor(one) for one in tensors.pair(record["inputs"]))
    said.requires_grad_(True)
    student, teacher = shown(said, places), shown(taught, places)
    labels = LABELS[: len(said)]
    total = torch.zeros((), dtype=torch.float64)
    for weight, one in terms:
        torch.manual_seed(0)
        one.fit(student, teacher)
        total = total + weight * one.values(student, teacher, labels).mean()
    (gradient,) = torch.autograd.grad(total, said)
    along = (gradient * torch.tensor(tensors.towards(record["inputs"]))).sum()
    assert float(total.detach()) == pytest.approx(record["value"], rel=rel)
    assert float(gradient.norm()) == pytest.approx(record["gradient_norm"], rel=rel)
    assert float(along) == pytest.approx(
        record["gradient_along"], rel=rel, abs=rel * record["gradient_norm"]
    )


def shown(numbers: Tensor, places: str) -> Answer:
    if places == "logits":
        return Answer(numbers)
    logits = numbers.detach().flatten(1)[:, :2]
    return Answer(logits, hidden=(numbers,), embedding=numbers.flatten(1))


@of("kd")
def test_soft_targets_are_torchdistills_kd(record: JSON) -> None:
    """torchdistill's alpha weighs hard labels, 1 − alpha soft targets with T². Without an alpha it
    answers the bare divergence, without T² and without its beta: the jump that ours has not."""
    said = record["settings"]
    temperature, alpha = said["temperature"], said["alpha"]
    soft = term("soft_targets", temperature=temperature)
    if alpha is None:
        agrees(record, [(1.0 / temperature**2, soft)])
    else:
        agrees(record, [(alpha, term("hard_labels")), (1.0 - alpha, soft)])


@of("standardised_logits")
def test_standardised_logits_are_torchdistills(record: JSON) -> None:
    """The deviation is the one over classes less one, with 1e-7 beside it, in both; alpha weighs
    hard labels, beta the term with T²."""
    said = record["settings"]
    soft = term("standardised_logits", temperature=said["temperature"])
    agrees(record, [(said["alpha"], term("hard_labels")), (said["beta"], soft)])


@of("dist")
def test_dist_is_torchdistills(record: JSON) -> None:
    """There tau² is a factor too, beta weighs relations between classes, and gamma within them.
    They differ where a class's column does not vary, which counts 1 there and nothing here."""
    said = record["settings"]
    ours = term(
        "dist",
        between_weight=said["beta"],
        within_weight=said["gamma"],
        temperature=said["tau"],
    )
    agrees(record, [(1.0, ours)])


@of("attention_transfer")
def test_attention_transfer_is_torchdistills(record: JSON) -> None:
    """As the authors' code has it (`mode: code`): the mean over places and rows of the squared
    difference; the paper's equation 2 takes the norm instead, 'divided by' both in its weight."""
    agrees(record, [(1.0, term("attention_maps", form="attention_transfer"))], places="layers")


@of("rkd")
def test_relational_distillation_is_torchdistills_rkd(record: JSON) -> None:
    """Both take the mean over all pairs and triples, those of a row with itself included."""
    said = record["settings"]
    ours = term(
        "relational", distance_weight=said["dist_factor"], angle_weight=said["angle_factor"]
    )
    agrees(record, [(1.0, ours)], places="layers")


@of("similarity_preserving")
def test_similarity_preserving_is_torchdistills(record: JSON) -> None:
    """`batchmean` there divides by the square of the rows, as the paper does; so do we. It calls
    `normalize(products, 1)`, whose 1 is the norm and not the dimension, so its rows have sums of 1
    where the paper's have lengths of 1; `row_norm` has both."""
    ours = term("relational", form="similarity_preserving", row_norm="absolute")
    agrees(record, [(1.0, ours)], places="layers")


@of("pkt")
def test_pkt_is_torchdistills(record: JSON) -> None:
    """The mean over all pairs, not the sum over partners: hence the weight of 30000. Lengths have
    1e-7 added there and are at least 1e-7 here, which is why it agrees to 1e-5 only."""
    agrees(record, [(1.0, term("relational", form="pkt"))], rel=1e-5, places="layers")


@of("jsd")
def test_raw_jsd_is_trls(record: JSON) -> None:
    """TRL has no T², and jumps to a whole KL at beta 0 and 1; `batchmean` is a mean over rows."""
    agrees(record, [(1.0, term("jsd", form="raw", **record["settings"]))])


@of("jsd")
def test_normalised_jsd_is_trls_times_what_it_lacks(record: JSON) -> None:
    """Ours is TRL's times T² and over beta (1 − beta); at the ends, where TRL has dropped that
    factor itself, times T² alone."""
    said = record["settings"]
    lacking = said["beta"] * (1.0 - said["beta"]) or 1.0
    agrees(record, [(lacking / said["temperature"] ** 2, term("jsd", **said))])
