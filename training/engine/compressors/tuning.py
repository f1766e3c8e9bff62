"""Training a compressed network a little, so that it answers again as it did.

A teacher's answers are the target where there is one; the labels where there is none. After each
epoch the validation rows say how far it still is, and the best weights are kept: no training may
make it worse.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.engine import config, data, evaluate, head_loss, networks, optimization
from training.engine.answers import NOTHING, Answer
from training.engine.compressors import Material
from training.engine.data import Batch, Indices
from training.engine.errors import DataError, ModelError
from training.engine.heads import taught
from training.engine.losses import LOSSES, Loss
from training.engine.networks import Network
from training.engine.options import option
from training.engine.students import ARCHITECTURES
from training.engine.windows import LanguageInputs

STEPS = 1000  # that a training takes about, where epochs are not given
FEWEST, MOST = 3, 30  # epochs then


@dataclass(frozen=True)  # without slots: compressors join these with their own
class Options:
    epochs: int | None = option(
        None,
        minimum=0,
        maximum=1000,
        help="Passes over the training rows; empty for about a thousand steps, 0 for none.",
    )
    learning_rate: float | None = option(
        None,
        minimum=0.0,
        maximum=10.0,
        help="The highest, from which it falls to 0; empty for what suits the architecture.",
    )
    batch_size: int = option(32, minimum=1, maximum=65_536, help="Rows in one step.")
    temperature: float | None = option(
        None,
        minimum=0.05,
        maximum=1000.0,
        help="Softens the teacher's answers, where there is one; empty for 2, and for 1 where "
        "texts are written.",
    )
    seed: int = option(0, minimum=0, maximum=2**31 - 1, help="Of the order and dropout.")


def temperature(asked: float | None, network: Network) -> float:
    """At which a teacher's answers are learnt."""
    if asked is not None:
        return asked
    return 1.0 if hasattr(network.module, "last") else 2.0


def tune(
    network: Network,
    material: Material,
    options: Any,
    after_step: Callable[[], None] = lambda: None,
) -> str:
    """Train in place; a sentence that says how. `after_step` mends what a step has broken, such as
    zeros that must stay. Raises DataError when neither a teacher nor labels speak."""
    if options.epochs == 0:
        return "Not trained."
    lesson = _Lesson(network, material, options)
    per_epoch = -(-len(lesson.rows) // options.batch_size)
    epochs = options.epochs or min(MOST, max(FEWEST, -(-STEPS // per_epoch)))
    rate = options.learning_rate
    training = dataclasses.replace(
        config.Training(),
        epochs=epochs,
        batch_size=options.batch_size,
        learning_rate=_suited(network) if rate is None else rate,
        seed=options.seed,
    )
    torch.manual_seed(options.seed)
    module = material.place.settle(network)
    weights = [one for one in module.parameters() if one.requires_grad]
    optimizer = optimization.optimizer(weights, training)
    steps = epochs * per_epoch
    step, best, kept = 0, lesson.distance(), _copy(module)
    for epoch in range(epochs):
        order = data.epoch_order(
            lesson.rows, material.inputs.lengths, options.batch_size, options.seed, epoch
        )
        module.train()
        for rows in order:
            optimization.set_rate(optimizer, optimization.learning_rate(training, step, steps))
            optimizer.zero_grad(set_to_none=True)
            lesson.term(rows, "train").backward()  # type: ignore[no-untyped-call]
            optimization.gradient_norm(weights, training.max_grad_norm)
            optimizer.step()
            with torch.no_grad():
                after_step()
            step += 1
        distance = lesson.distance()
        if math.isfinite(distance) and distance < best:
            best, kept = distance, _copy(module)
        material.say(f"Epoch {epoch + 1} of {epochs}: {lesson.kind} {distance:.4g}")
    module.load_state_dict(kept)
    module.eval()
    whom = "a teacher's answers" if material.teacher is not None else "labels"
    return f"Trained on {whom}, {epochs} epochs of {len(lesson.rows):,} rows."


def _suited(network: Network) -> float:
    """A rate between the one for random weights and the one for trained ones: what is mended has
    lost some of what it knew."""
    architecture = ARCHITECTURES[network.architecture]
    usual = config.Training().learning_rate
    fresh = float(architecture.recommended.get("learning_rate", usual))
    trained = float(architecture.recommended_trained.get("learning_rate", fresh))
    return math.sqrt(fresh * trained)


class _Lesson:
    """One term: soft targets of a teacher, or the labels."""

    def __init__(self, network: Network, material: Material, options: Any) -> None:
        self.network, self.material = network, material
        # Of texts that are written, those of each window; other rows weigh alike.
        inputs = material.inputs
        self.units = inputs.units if isinstance(inputs, LanguageInputs) else None
        dataset = material.dataset
        self.columns = networks.columns(network, dataset.names)
        self.rows = material.training
        self.loss: Loss
        if material.teacher is not None:
            soft = LOSSES["soft_targets"]
            if dataset.problem in soft.problems:
                softens = temperature(options.temperature, network)
                wish = soft.Options(temperature=softens)
                self.loss = soft(wish, dataset.problem)
            else:
                self.loss = LOSSES["logit_mse"](LOSSES["logit_mse"].Options(), dataset.problem)
        else:
            if self.units is None:  # of a text, every token is a label
                self.rows = self.rows[dataset.labelled[self.rows]]
            if not len(self.rows):
                raise DataError(
                    "No training row has a label, and there is no teacher to speak: name a teacher."
                )
            self.loss = LOSSES["hard_labels"](LOSSES["hard_labels"].Options(), dataset.problem)
        self.kind = self.loss.key

    def term(self, rows: Indices, split: str) -> Tensor:
        """Its mean over the units it speaks about."""
        place = self.material.place
        batch = self.material.inputs.batch(rows)
        if self.units is not None:
            return self._of_tokens(rows, split, batch)
        logits = place.logits(self.network, batch)[:, self.columns]
        truth = self._truth(rows, batch).to(logits.device)
        teacher = None
        if self.material.teacher is not None:
            said = self.material.teacher.logits(rows, split).to(logits.device)
            if said.shape != logits.shape:
                raise ModelError(
                    "The teacher answers vectors of another width, which cannot be compared. Name "
                    "the version itself as its teacher."
                )
            teacher = Answer(said)
        if self.material.dataset.problem == "regression":  # in deviations, whatever the unit
            mean, deviation = self.network.scale
            truth = (truth - mean) / deviation
            logits = (logits - mean) / deviation
            if teacher is not None:
                teacher = Answer((teacher.logits - mean) / deviation)
        values = self.loss.values(Answer(logits), teacher, truth)
        speaks = self.loss.speaks(truth)
        return values.sum() / speaks.sum().clamp(min=1)

    def _of_tokens(self, rows: Indices, split: str, batch: Batch) -> Tensor:
        """Of a network that writes: its last layer and the term are one, so that whole logits are
        never in memory."""
        place = self.material.place
        head = place.head(self.network, batch)
        labels = self._truth(rows, batch).to(place.device)
        said = None
        if self.material.teacher is not None:
            said = self.material.teacher.answer(rows, split, NOTHING).to(place.device)
        terms = [(self.kind, 1.0, self.loss)]
        counts = {self.kind: len(labels)}
        value, _ = head_loss.total(head, taught(said), labels, terms, counts)
        return value

    def _truth(self, rows: Indices, batch: Batch) -> Tensor:
        targets = batch.get("targets")
        if targets is None:
            return torch.from_numpy(self.material.dataset.labels[rows])
        truth = targets[targets != data.NO_UNIT]
        # What it can say of reasons is kept like what it can say of answers.
        return (
            truth
            if self.units is None
            else torch.where(truth < -1, data.of_rationale(truth), truth)
        )

    def distance(self) -> float:
        """The term on the validation rows; NaN where none can be judged."""
        dataset = self.material.dataset
        rows = dataset.splits["validation"]
        if self.material.teacher is None and self.units is None:
            rows = rows[dataset.labelled[rows]]
        lengths = self.material.inputs.lengths
        self.network.module.eval()
        total, count = 0.0, 0
        with torch.inference_mode():
            for some in data.steady_order(rows, lengths, evaluate.AT_ONCE):
                many = len(some) if self.units is None else int(self.units[some].sum())
                total += float(self.term(some, "validation")) * many
                count += many
        return total / count if count else math.inf


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
