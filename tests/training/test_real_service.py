"""A service that is not ours answers: `transformers serve`, with a model made on the spot."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from projects.models import ModelVersion, Project, User
from tests.conftest import api_of
from tests.site.processes import free_port, until
from training.answering.asker import Asker
from training.answering.questions import Choice, Prompt, Text
from training.worker import networks as inspection

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.slow,
    pytest.mark.usefixtures("worker"),
]

CHAT = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def make_model(folder: Path) -> None:
    """A Llama of random weights, which answers in gibberish, but answers."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(["Is a lemon sour? Answer with one word, yes or no."], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.pad_token = "<end>"
    fast.chat_template = CHAT
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The base URL of a real server, and the name of its model."""
    pytest.importorskip("fastapi")
    folder = tmp_path_factory.mktemp("served")
    make_model(folder / "tiny")
    port = free_port()
    said = folder / "log"
    with said.open("wb") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "transformers.cli.transformers", "serve"),
                *(str(folder / "tiny"), "--host", "127.0.0.1", "--port", str(port)),
                *("--device", "cpu"),
            ],
            env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def is_up() -> bool:
        assert server.poll() is None, said.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        until(is_up, seconds=180, what=lambda: said.read_text()[-3000:])
        yield f"http://127.0.0.1:{port}/v1", str(folder / "tiny")
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.parametrize("api", ["openai-chat", "openai-completions"])
def test_a_real_service_is_registered_tested_and_asked(
    project: Project, alice: User, served: tuple[str, str], settings: LazySettings, api: str
) -> None:
    base_url, model = served
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.1"]
    source: dict[str, Any] = {
        "kind": "api", "api": api, "base_url": base_url, "model": model,
        "input_price": "1", "output_price": "2", "timeout": 120, "max_tokens": 8,
    }  # fmt: skip
    made = api_of(alice).post(
        f"/api/v1/projects/{project.slug}/models/",
        {"name": "real", "role": "teacher", "task": "text-classification", "source": source},
        format="json",
    )
    assert made.status_code == 201, made.json()
    version = ModelVersion.objects.get()
    inspection.WORK.carry_out(version.pk)
    version.refresh_from_db()
    assert version.status == "ready", version.error
    # It refuses `logprobs`, `response_format` and `echo` by name: they are left out from then on.
    assert not any(version.source["offers"].values())

    for _ in range(2):
        asker = Asker(version, Text(), purpose="test", budget=Decimal(1))
        answers = list(asker.answers(Prompt(at, f"What is {at}?") for at in range(6)))
        assert {one.key for one in answers} == set(range(6))
        # Gibberish may be blank, and has no end.
        assert {one.reason for one in answers} <= {"", "empty", "unfinished"}
    assert asker.report.cached == 6
    assert asker.report.requests == 0
    assert all(one.input_tokens and one.cost for one in answers)

    asker = Asker(version, Choice(labels=("yes", "no")), purpose="labels")
    (answer,) = asker.answers([Prompt("lemon", "Is a lemon sour?")])
    assert answer.label in {"yes", "no"} or answer.reason in {"malformed", "empty", "unfinished"}
