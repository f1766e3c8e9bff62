"""Record what seqeval and torchmetrics answer, in recorded_metrics.json. Run by hand:

    python -m venv env
    env/bin/pip install torch==2.13.0 numpy seqeval==1.2.2 torchmetrics==1.9.0
    env/bin/python -m tests.engine.oracles.record_metrics

The tests read the numbers only: neither library is needed to run them.
"""

import itertools
import json
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from seqeval.metrics.sequence_labeling import (  # type: ignore[import-not-found]
    precision_recall_fscore_support as scores,
)
from torchmetrics.functional.classification import (  # type: ignore[import-not-found]
    multiclass_calibration_error,
)

from tests.engine.oracles import answers

JSON = dict[str, Any]
BINS = 15


def spans(inputs: JSON) -> JSON:
    truth, said, starts = answers.sentences(inputs)
    names = answers.TAGS[inputs["tags"]]
    spelt = [
        [[names[one] for one in tags[begin:end]] for begin, end in itertools.pairwise(starts)]
        for tags in (truth, said)
    ]
    precision, recall, f1, _ = scores(*spelt, average="micro", zero_division=0)
    each = scores(*spelt, average=None, zero_division=0)
    return {
        "span_precision": float(precision),
        "span_recall": float(recall),
        "span_f1": float(f1),
        "per_type": [[float(one) for one in row] for row in zip(*each, strict=True)],
    }


def calibration(inputs: JSON) -> JSON:
    logits, labels = answers.logits(inputs)
    found = multiclass_calibration_error(
        torch.tensor(logits).softmax(-1),
        torch.tensor(labels),
        num_classes=inputs["classes"],
        n_bins=BINS,
        norm="l1",
    )
    return {"ece": float(found)}


def record() -> list[JSON]:
    warnings.simplefilter("ignore")
    recorded = []
    for seed, tags in enumerate(answers.TAGS):
        for many in (1, 40):
            inputs = {"seed": seed, "tags": tags, "sentences": many}
            library = f"seqeval {version('seqeval')}"
            recorded.append({"library": library, "inputs": inputs, **spans(inputs)})
    for seed, (classes, scale) in enumerate([(2, 1.0), (5, 0.3), (10, 2.0), (77, 4.0)]):
        inputs = {"seed": seed, "rows": 400, "classes": classes, "scale": scale}
        library = f"torchmetrics {version('torchmetrics')}"
        recorded.append({"library": library, "inputs": inputs, **calibration(inputs)})
    return recorded


if __name__ == "__main__":
    place = Path(__file__).with_name("recorded_metrics.json")
    lines = ",\n".join(json.dumps(one) for one in record())
    place.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
