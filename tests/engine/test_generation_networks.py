"""Laws that every network which writes keeps because it is registered; and writing itself."""

from pathlib import Path
from typing import Any

import pytest
import torch

from training.engine import features, language, networks, options, sampling
from training.engine.answers import Wanted
from training.engine.data import NO_UNIT
from training.engine.heads import Unmultiplied
from training.engine.networks import Network, Place
from training.engine.students import ARCHITECTURES

WRITING = [one.key for one in ARCHITECTURES if "text-generation" in one.tasks]
CPU = Place(torch.device("cpu"))
SMALL: dict[str, Any] = {"tokenizer": "character", "vocabulary": 64, "max_length": 24}
SIZES: dict[str, dict[str, Any]] = {
    "gru_language_model": {"dim": 8, "hidden": 12, "layers": 2},
    "gpt2-lm": {"n_embd": 16, "n_layer": 1, "n_head": 2},
}
DECODER = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24
}  # fmt: skip


def built(key: str) -> Network:
    architecture = ARCHITECTURES[key]
    values = {**SMALL, **SIZES.get(key, DECODER)}
    config, faults = options.check(options.describe(architecture.Options), values)
    assert not faults
    preprocessing = language.learn(
        ["the cat sat on the mat."], architecture.wished_language(config)
    )
    torch.manual_seed(0)
    network = networks.draw(key, key, config, "text-generation", (), preprocessing)
    network.module.eval()
    return network


@pytest.fixture(scope="module", params=WRITING)
def network(request: pytest.FixtureRequest) -> Network:
    return built(request.param)


def some_batch(network: Network) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    ids = torch.randint(3, network.outputs, (3, 9))
    mask = (torch.arange(9) < torch.tensor([[9], [5], [7]])).long()
    targets = torch.where(mask.bool(), torch.roll(ids, -1, 1), NO_UNIT)
    return {"input_ids": ids * mask, "attention_mask": mask, "targets": targets}


def test_its_last_layer_makes_its_logits_of_what_stands_before(network: Network) -> None:
    batch = some_batch(network)
    with torch.no_grad():
        whole = network.module(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        answer = CPU.answer(network, batch)
    assert whole.shape == (3, 9, network.outputs)
    assert isinstance(answer, Unmultiplied)
    chosen = whole[batch["targets"] != NO_UNIT]
    assert torch.allclose(answer.logits, chosen, atol=1e-5)
    assert torch.allclose(CPU.logits(network, batch), chosen, atol=1e-5)


def test_what_it_remembers_says_what_reading_everything_again_says(network: Network) -> None:
    torch.manual_seed(2)
    ids = torch.randint(3, network.outputs, (3, 7))
    lengths = torch.tensor([7, 3, 5])
    more = torch.randint(3, network.outputs, (2, 3))
    with torch.no_grad():
        said, memory = network.module.begin(ids, lengths)  # type: ignore[operator]
        heard = [said]
        for one in more:
            said, memory = network.module.go_on(one, memory)  # type: ignore[operator]
            heard.append(said)
        for row, length in enumerate(lengths.tolist()):
            text = torch.cat([ids[row, :length], more[:, row]])
            whole = network.module(input_ids=text[None])[0, length - 1 :]
            for place, logits in enumerate(heard):
                assert torch.allclose(logits[row], whole[place], atol=1e-5)


def test_no_place_sees_what_comes_after_it(network: Network) -> None:
    batch = some_batch(network)
    changed = batch["input_ids"].clone()
    changed[:, 5:] = 3
    with torch.no_grad():
        one = network.module(input_ids=batch["input_ids"])[:, :5]
        two = network.module(input_ids=changed)[:, :5]
    assert torch.allclose(one, two, atol=1e-5)


def test_every_weight_learns_and_saved_it_writes_the_same(network: Network, tmp_path: Path) -> None:
    batch = some_batch(network)
    logits = CPU.answer(network, batch).logits
    logits.logsumexp(-1).sum().backward()  # type: ignore[no-untyped-call]
    idle = [name for name, one in network.module.named_parameters() if one.grad is None]
    assert idle == []
    networks.save(network, tmp_path / "model")
    again = networks.load("again", tmp_path / "model", "text-generation")
    assert again.preprocessing.digest == network.preprocessing.digest
    assert again.architecture == network.architecture
    assert again.outputs == network.outputs
    again.module.eval()
    with torch.no_grad():
        assert torch.allclose(CPU.logits(again, batch), logits, atol=1e-5)


def test_its_layers_can_be_watched_without_its_logits(network: Network) -> None:
    with torch.no_grad():
        answer = CPU.answer(network, some_batch(network), Wanted(hidden=True))
    assert isinstance(answer, Unmultiplied)
    assert answer.made is None
    assert all(one.shape[:2] == (3, 9) for one in answer.hidden)


def write(network: Network, prompts: list[list[int]], **how: Any) -> list[list[int]]:
    asked: dict[str, Any] = {"most": 8, "window": 20, "temperature": 0.0, "end": None}
    asked |= {"chance": sampling.chance_of(0), **how}
    return sampling.write(network.module, CPU, prompts, **asked)


def test_without_chance_the_likeliest_token_comes_next() -> None:
    network = built("gru_language_model")
    prompt = [4, 5, 6]
    expected: list[int] = []
    for _ in range(5):
        with torch.no_grad():
            said = network.module(input_ids=torch.tensor([prompt + expected]))
        expected.append(int(said[0, -1].argmax()))
    assert write(network, [prompt], most=5) == [expected]


def test_the_same_chance_writes_the_same_and_another_does_not() -> None:
    network = built("gru_language_model")
    prompts = [[4, 5], [6]]
    drawn = [
        write(network, prompts, temperature=1.0, chance=sampling.chance_of(7, step))
        for step in (3, 3, 4)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_text_ends_at_its_end_token_at_most_or_where_the_window_does() -> None:
    network = built("gru_language_model")
    free = write(network, [[4, 5, 6]], most=8)[0]
    end = free[2]
    first = free.index(end)
    assert write(network, [[4, 5, 6]], most=8, end=end) == [free[: first + 1]]
    assert [len(one) for one in write(network, [[4] * 5, [4] * 2], most=9, window=8)] == [3, 6]
    assert len(write(network, [[4] * 50], window=8)[0]) == 1


def test_writing_leaves_a_network_in_the_mode_it_was_in() -> None:
    network = built("gru_language_model")
    network.module.train()
    write(network, [[4]])
    assert network.module.training


def test_a_model_that_is_named_by_the_library_alone_is_read_with_its_own_tokens(
    tmp_path: Path,
) -> None:
    network = built("gpt2-lm")
    networks.save(network, tmp_path / "model")
    (tmp_path / "model" / "distillhub.json").unlink()
    again = networks.load("hub", tmp_path / "model", "text-generation")
    assert again.architecture == "gpt2-lm"
    assert again.outputs == network.outputs
    said = again.preprocessing.as_dict()
    assert said["max_length"] == 24
    assert said["end"] == 1


def test_its_last_layer_is_found() -> None:
    for key in WRITING:
        network = built(key)
        weight, _ = network.module.last()  # type: ignore[operator]
        layer = features.last_layer(network.module)
        assert layer.weight.shape == weight.shape
