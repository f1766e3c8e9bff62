"""What the model in this folder answers.

    python predict.py --check            do the examples here answer as the model did?
    python predict.py INPUT [INPUT ...]  one line of JSON for each; "-" reads lines of the input
    python predict.py --int8 INPUT       the same with weights of 8 bits, where they are here

An INPUT is a text; the path of a picture or a sound; or a JSON object of a table's columns. What
requirements.txt names is needed. In a program:

    from predict import Predictor
    Predictor().predict(["a text", "another one"])
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from inputs import Inputs, read  # type: ignore[import-not-found]  # stands beside this file

HOME = Path(__file__).resolve().parent
BATCH = 32  # rows at once


class Predictor:
    def __init__(self, folder: Path = HOME, *, int8: bool = False, threads: int = 0) -> None:
        """`threads`: 0 leaves their number to ONNX Runtime."""
        self.settings = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
        self.labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        self.folder = folder
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        name = "model-int8.onnx" if int8 else "model.onnx"
        if not (folder / name).exists():
            raise SystemExit(f"There is no {name} in this bundle.")
        self.session = onnxruntime.InferenceSession(
            str(folder / name), options, providers=["CPUExecutionProvider"]
        )
        shapes = {one.name: one.shape for one in self.session.get_inputs()}
        self.wanted = list(shapes)
        self.inputs = Inputs(folder, self.settings["preprocessing"], shapes)

    def predict(self, rows: list[Any]) -> list[dict[str, Any]]:
        """Of each row its answer: `label` and `probabilities`, `labels`, `value` or `vector`."""
        answers: list[dict[str, Any]] = []
        for start in range(0, len(rows), BATCH):
            batch = self.inputs.batch(rows[start : start + BATCH])
            given = {name: batch[name] for name in self.wanted}
            logits = self.session.run(None, given)[0]
            answers += [self._answer(one) for one in np.asarray(logits, dtype=np.float64)]
        return answers

    def _answer(self, logits: "np.ndarray[Any, Any]") -> dict[str, Any]:
        problem = self.settings["problem"]
        if problem == "regression":
            return {"value": float(logits[0])}
        if problem == "embedding":
            return {"vector": logits.tolist()}
        if problem == "multi_label":
            shares = 1.0 / (1.0 + np.exp(-logits))
            known = zip(self.labels, shares.tolist(), strict=True)
            labels = [label for label, share in known if share > 0.5]
            return {"labels": labels, "probabilities": shares.tolist()}
        shares = np.exp(logits - logits.max())
        shares = shares / shares.sum()
        return {"label": self.labels[int(shares.argmax())], "probabilities": shares.tolist()}

    def check(self) -> tuple[bool, str]:
        """Whether the examples answer as the model did that was exported, and a sentence."""
        examples = json.loads((self.folder / "examples.json").read_text(encoding="utf-8"))
        if not examples:
            return True, "There are no examples here to check."
        rows = [self._row(one["input"]) for one in examples]
        apart = 0.0
        wrong = 0
        for found, one in zip(self.predict(rows), examples, strict=True):
            said = one["answer"]
            wrong += any(found.get(name) != said.get(name) for name in ("label", "labels"))
            ours, theirs = _numbers(found), _numbers(said)
            apart = max(apart, float(np.abs(ours - theirs).max(initial=0.0)))
        many, limit = len(examples), self.settings["tolerance"]
        if wrong or apart > limit:
            return False, (
                f"{wrong} of {many} examples answer otherwise than the model did, and their "
                f"numbers are up to {apart:.2g} apart."
            )
        return True, f"{many} of {many} examples answer as the model did (within {limit:g})."

    def _row(self, given: Any) -> Any:
        is_file = isinstance(given, dict) and set(given) == {"file"}
        return (self.folder / given["file"]).read_bytes() if is_file else given


def _numbers(answer: dict[str, Any]) -> "np.ndarray[Any, Any]":
    found = answer.get("probabilities") or answer.get("vector") or [answer.get("value", 0.0)]
    return np.asarray(found, dtype=np.float64)


def main() -> int:
    parser = argparse.ArgumentParser(description="What the model in this folder answers.")
    parser.add_argument("inputs", nargs="*", help='a text, a path, or JSON; "-" reads lines')
    parser.add_argument("--check", action="store_true", help="answer the examples, and compare")
    parser.add_argument("--int8", action="store_true", help="with weights of 8 bits")
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    if not asked.check and not asked.inputs:
        parser.print_help()
        return 2
    predictor = Predictor(int8=asked.int8, threads=asked.threads)
    if asked.check:
        passed, sentence = predictor.check()
        sys.stdout.write(f"{sentence}\n")
        return 0 if passed else 1
    given = [line for one in asked.inputs for line in (sys.stdin if one == "-" else [one])]
    rows = [read(one.rstrip("\n")) for one in given]
    for answer in predictor.predict(rows):
        sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
