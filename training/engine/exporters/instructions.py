"""What lies beside an export, so that it can be used without this code: `export.json`, which says
how inputs are made and what the outputs mean, the tokenizer, and a README with an example that runs
as it stands.
"""

import json
from pathlib import Path
from typing import Any

from training.engine.exporters import Exporter
from training.engine.exporters.feeding import Fed, writes
from training.engine.language import ANSWER, FOR_ANSWER, LanguagePreprocessing
from training.engine.networks import Network
from training.engine.pixels import ImagePreprocessing
from training.engine.tokenization import TextPreprocessing

JSON = dict[str, Any]
README = "README.txt"


def write(network: Network, exporter: Exporter, how: Fed, folder: Path) -> None:
    """Beside the file that the exporter has written."""
    network.preprocessing.save(folder)
    inputs = [
        {
            "name": name,
            "type": str(value.dtype).removeprefix("torch."),
            "shape": [how.axes[name].get(axis, size) for axis, size in enumerate(value.shape)],
        }
        for name, value in how.example.items()
    ]
    said = {
        "format": 1,
        "export": exporter.key,
        "model": network.name,
        "architecture": network.architecture,
        "task": network.task,
        "problem": network.problem,
        "labels": list(network.labels),
        "inputs": inputs,
        "outputs": [{"name": "logits", "means": _meaning(network)}],
        "preprocessing": network.preprocessing.as_dict(),
    }
    (folder / "export.json").write_text(
        json.dumps(said, indent=1, ensure_ascii=False), encoding="utf-8"
    )
    (folder / README).write_text(readme(network, exporter, inputs), encoding="utf-8")


def readme(network: Network, exporter: Exporter, inputs: list[JSON]) -> str:
    """How to feed it, in words and as a program."""
    fed = "\n".join(f"    {one['name']}  {one['type']} {one['shape']}" for one in inputs)
    parts = [
        f"{network.name}, as {exporter.label}",
        f"A {network.architecture} for {network.task}. {exporter.weights} holds the network, "
        "export.json its\nlabels and how its inputs are made.",
        f"Inputs, in this order:\n\n{fed}",
        f"Output: logits. {_meaning(network)}",
    ]
    if writes(network):
        parts.append(ALONE)
    example = "" if exporter.usage else _example(network, exporter)
    if exporter.usage:
        parts.append(exporter.usage)
    if example:
        parts.append(f"In Python, in this folder (needs {_needs(network, exporter)}):\n\n{example}")
    return "\n\n".join(parts) + "\n"


def _meaning(network: Network) -> str:
    if isinstance(network.preprocessing, LanguagePreprocessing):
        return (
            "A number for each token of the vocabulary after each place: the largest at the last "
            "place is the token that comes next."
        )
    if network.problem == "regression":
        return "One number a row: the answer itself."
    if network.problem == "multi_label":
        return "A number for each label, in their order: the label holds where it is above 0."
    if network.labels:
        return "A number for each label, in their order: the largest is the answer."
    return "The numbers that the network answers."


def _needs(network: Network, exporter: Exporter) -> str:
    opens = "onnxruntime" if exporter.is_onnx else "torch"
    if isinstance(network.preprocessing, TextPreprocessing | LanguagePreprocessing):
        return f"{opens}, numpy and tokenizers"
    return f"{opens}, numpy and pillow"


ALONE = """\
Pad texts of different lengths behind: no place looks at those behind it. The graph remembers
nothing: for each further token it reads the whole text again."""
WRITING = """\
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
ids = {begin}tokenizer.encode({text!r}, add_special_tokens=False).ids{mark}
"""
GOING_ON = """\
for _ in range(20):
    inputs = {{"input_ids": np.array([ids[-{longest}:]], dtype=np.int64)}}
{ask}
    ids.append(int(logits[0, -1].argmax()))
print(tokenizer.decode(ids))
"""
TEXT = """\
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({longest})
tokenizer.enable_padding(pad_id={pad})
encoded = tokenizer.encode_batch(["a text", "another one"])
inputs = {{
    "input_ids": np.array([one.ids for one in encoded], dtype=np.int64),
    "attention_mask": np.array([one.attention_mask for one in encoded], dtype=np.int64),
}}
"""
IMAGE = """\
from PIL import Image

picture = Image.open({name!r}).convert({mode!r})
picture = picture.resize(({width}, {height}), Image.Resampling.BILINEAR)
pixels = np.asarray(picture, dtype=np.float32).reshape({height}, {width}, {channels}) / 255.0
pixels = (pixels - np.array({mean}, dtype=np.float32)) / np.array({std}, dtype=np.float32)
inputs = {{"pixel_values": pixels.transpose(2, 0, 1)[None].copy()}}
"""
ONNX = """\
import onnxruntime

session = onnxruntime.InferenceSession({weights!r})
wanted = [one.name for one in session.get_inputs()]
"""
ASK_ONNX = """\
logits = session.run(None, {name: inputs[name] for name in wanted})[0]
"""
TORCH = """\
import torch

network = torch.export.load({weights!r}).module()
"""
ASK_TORCH = """\
with torch.no_grad():
    logits = network(*(torch.from_numpy(one) for one in inputs.values())).numpy()
"""
SINGLE = """\
with open("export.json", encoding="utf-8") as file:
    labels = json.load(file)["labels"]
print([labels[place] for place in logits.argmax(axis=-1).reshape(-1)])
"""


def _example(network: Network, exporter: Exporter) -> str:
    """A program for texts, read or written, and for pictures; other inputs are described by
    export.json alone."""
    seen = network.preprocessing
    opens = (ONNX if exporter.is_onnx else TORCH).format(weights=exporter.weights)
    ask = ASK_ONNX if exporter.is_onnx else ASK_TORCH
    if isinstance(seen, LanguagePreprocessing):
        mark = seen.tokenizer.token_to_id(ANSWER)
        feed = WRITING.format(
            text=f"{FOR_ANSWER}the" if seen.rationales else "the",
            begin="" if seen.start is None else f"[{seen.start}] + ",
            mark="" if mark is None else f" + [{mark}]",
        )
        asks = "\n".join(f"    {line}" for line in ask.rstrip().split("\n"))
        told = GOING_ON.format(longest=seen.max_length, ask=asks)
        return _indented(f"import numpy as np\n{feed}\n{opens}\n{told}")
    if isinstance(seen, TextPreprocessing):
        feed = TEXT.format(longest=seen.max_length, pad=seen.pad)
    elif isinstance(seen, ImagePreprocessing):
        feed = IMAGE.format(
            name="picture.png",
            mode="L" if seen.channels == 1 else "RGB",
            width=seen.width,
            height=seen.height,
            channels=seen.channels,
            mean=list(seen.mean),
            std=list(seen.std),
        )
    else:
        return ""
    told = SINGLE if network.problem == "single_label" and network.labels else "print(logits)\n"
    return _indented(f"import json\n\nimport numpy as np\n{feed}\n{opens}{ask}\n{told}")


def _indented(lines: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in lines.splitlines())
