"""A model writes answers to prompts: `python -m training.engine write JOB_DIR`.

`config.json`: {"format": 1, "model": {"name", "path"}, "prompts", "most", "temperature", "seed",
"threads"}. `prompts` names a file of JSON lines, {"text"}; `texts.jsonl` then has a line for each,
in their order: {"text", "ended"}, what the model wrote, and whether it came to an end. `most` are
the tokens of an answer. `result.json` is {"texts"}, or {"failed": {"code", "sentence"}}.

A checkpoint from elsewhere with a template for chats is spoken to as a chat; a model that learned
here reads prompts as its rows were read.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import torch

from training.engine import chats, inspection, job, networks, sampling
from training.engine.errors import ConfigError, Fault, ModelError
from training.engine.events import Logged, Stage
from training.engine.journal import Journal
from training.engine.language import LanguagePreprocessing
from training.engine.networks import Place

JSON = dict[str, Any]
TEXTS = "texts.jsonl"
TASK = "text-generation"


def run(folder: Path) -> NoReturn:
    """Write as the folder says, write `result.json`, and end the process."""

    def work(folder: Path) -> JSON:
        with Journal(folder / "journal.jsonl") as journal:
            return write(
                folder,
                stage=lambda name: journal.write(Stage(name)),
                say=lambda text: journal.write(Logged(text)),
            )

    inspection.answer(folder, work)


def write(
    folder: Path,
    *,
    stage: Callable[[str], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
) -> JSON:
    """Answer the prompts of a job folder. Raises the errors of errors.py."""
    raw = job.read_config(folder)
    model = raw.get("model")
    if not isinstance(model, dict):
        raise ConfigError([Fault("model", "It must be an object.")])
    torch.set_num_threads(max(1, int(raw.get("threads") or 1)))
    stage("reading the model")
    home = folder / str(model["path"])
    network = networks.load(str(model["name"]), home, TASK)
    own = network.preprocessing
    if not isinstance(own, LanguagePreprocessing):
        raise ModelError(f"{network.name} does not write.")
    talks = bool(own.template) and not (home / "distillhub.json").exists()
    place = Place.choose("auto")
    place.settle(network)

    stage("writing")
    count = sum(1 for _ in _prompts(folder / str(raw["prompts"])))
    seed, told, done = int(raw.get("seed") or 0), 0.0, 0
    with (folder / TEXTS).open("w", encoding="utf-8") as file:
        for turn, some in enumerate(_batches(_prompts(folder / str(raw["prompts"])))):
            written = sampling.write(
                network.module,
                place,
                [_chat(own, one) if talks else own.prompt(one) for one in some],
                most=int(raw.get("most") or 128),
                window=own.max_length + 1,
                temperature=float(raw.get("temperature") or 0.0),
                end=own.end,
                chance=sampling.chance_of(seed, turn),
            )
            for ids in written:
                ended = bool(ids) and ids[-1] == own.end
                said = {"text": own.decode(ids[:-1] if ended else ids), "ended": ended}
                file.write(json.dumps(said, ensure_ascii=False) + "\n")
            done += len(some)
            if time.perf_counter() - told > 1.0:
                told = time.perf_counter()
                say(f"{done:,} of {count:,} texts")
    return {"texts": done}


def _prompts(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield str(json.loads(line)["text"])


def _batches(prompts: Iterator[str]) -> Iterator[list[str]]:
    some: list[str] = []
    for one in prompts:
        some.append(one)
        if len(some) == sampling.AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _chat(own: LanguagePreprocessing, text: str) -> list[int]:
    """The tokens after which a chat's answer to this begins."""
    named = {
        name: str(own.tokenizer.id_to_token(token))
        for name, token in (("bos_token", own.start), ("eos_token", own.end))
        if token is not None
    }
    asked = chats.render(own.template, [{"role": "user", "content": text}], named, opens=True)
    ids: list[int] = own.tokenizer.encode(asked, add_special_tokens=False).ids
    start = [] if own.start is None or ids[:1] == [own.start] else [own.start]
    return [*start, *ids]
