"""Texts, completions and chats as windows of tokens."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine import writings
from training.engine import chats, generation, language
from training.engine.data import NO_UNIT
from training.engine.errors import DataError, ModelError
from training.engine.language import LanguagePreprocessing, Wish
from training.engine.windows import LanguageInputs

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def prepared(said: dict[str, Any], home: Path, **wish: Any) -> tuple[Any, LanguageInputs]:
    dataset = writings.opened(said)
    preprocessing = language.train(dataset, Wish(**wish))
    return preprocessing, preprocessing.prepare(dataset.path, home)


def spoken(preprocessing: LanguagePreprocessing, inputs: LanguageInputs, row: int) -> list[str]:
    """The answers of a window, token by token, and what stands before each."""
    batch = inputs.batch(np.array([row]))
    return [
        str(preprocessing.tokenizer.id_to_token(target))
        for target in batch["targets"][0].tolist()
        if target != NO_UNIT
    ]


@pytest.mark.parametrize(("window", "stride"), [(8, 0), (8, 3), (5, 5), (200, 0)])
def test_every_token_but_a_texts_first_is_the_answer_of_exactly_one_window(
    tmp_path: Path, window: int, stride: int
) -> None:
    said = writings.texts(tmp_path / "texts.parquet", 10)
    dataset = writings.opened(said)
    preprocessing, inputs = prepared(
        said, tmp_path / "home", kind="character", vocabulary=64, max_length=window, stride=stride
    )
    answers: dict[int, list[int]] = {}
    divided = inputs.divided(dataset)
    assert divided.source is not None
    for row in range(len(divided)):
        batch = inputs.batch(np.array([row]))
        seen, targets = batch["input_ids"][0].tolist(), batch["targets"][0].tolist()
        assert len(seen) <= window
        for place, target in enumerate(targets):
            if target != NO_UNIT:
                answers.setdefault(int(divided.source[row]), []).append(target)
                if place + 1 < len(seen):  # the answer is what the next place sees
                    assert seen[place + 1] == target
    for row, texts in enumerate(list(_texts(dataset.path))):
        whole = preprocessing.tokenizer.encode(texts, add_special_tokens=False).ids
        assert answers[row] == whole[1:]
    assert inputs.units.sum() == sum(len(one) for one in answers.values())


def _texts(path: Path) -> Any:
    from training.engine import data

    for piece in data.column(path, "text"):
        yield from piece


def test_windows_keep_the_splits_of_their_texts_and_have_ids_of_their_own(tmp_path: Path) -> None:
    said = writings.texts(tmp_path / "texts.parquet", 10)
    dataset = writings.opened(said)
    _, inputs = prepared(said, tmp_path / "home", kind="character", vocabulary=64, max_length=8)
    divided = inputs.divided(dataset)
    assert len(set(divided.row_ids.tolist())) == len(divided)
    for split, rows in divided.splits.items():
        assert divided.source is not None
        assert set(divided.source[rows].tolist()) == set(dataset.splits[split].tolist())
        assert divided.place[rows].tolist() == list(range(len(rows)))


def test_only_the_completion_is_answered_for_and_a_long_prompt_loses_its_beginning(
    tmp_path: Path,
) -> None:
    said = writings.rows(tmp_path / "d.parquet", ["ab"] * 5, prompt=["xyz" * 5] + ["xy"] * 4)
    preprocessing, inputs = prepared(
        said, tmp_path / "home", kind="character", vocabulary=64, max_length=8
    )
    assert spoken(preprocessing, inputs, 1) == ["a", "b", "<|end|>"]
    (prompt, answer), (long, _) = inputs.prompts(np.array([1, 0]))
    assert preprocessing.decode(prompt) == "xy"
    assert preprocessing.decode(answer) == "ab"
    assert len(long) + len(answer) == 9  # the window and the last answer behind it
    assert preprocessing.decode(long) == ("xyz" * 5)[-5:]
    assert inputs.form == "completion"
    assert prompt == preprocessing.prompt("xy")


def test_of_a_chat_only_the_assistants_words_are_answered_for(tmp_path: Path) -> None:
    said = writings.chats(tmp_path / "d.parquet", 8)
    preprocessing, inputs = prepared(
        said, tmp_path / "home", kind="character", vocabulary=64, max_length=128
    )
    assert inputs.form == "chat"
    assert "".join(spoken(preprocessing, inputs, 0)) == "yes<|end|>yes yes<|end|>"
    prompt, answer = inputs.prompts(np.array([0]))[0]
    assert preprocessing.decode(answer) == "yes"
    assert preprocessing.tokenizer.id_to_token(prompt[-1]) == "<|assistant|>"


def test_a_row_that_is_no_chat_among_chats_is_named(tmp_path: Path) -> None:
    texts = [json.dumps([{"role": "user", "content": "a"}])] * 4 + ["just a text"]
    said = writings.rows(tmp_path / "d.parquet", texts)
    preprocessing = language.train(writings.opened(said), Wish(kind="character", vocabulary=64))
    with pytest.raises(DataError, match="Row 4 is no chat"):
        preprocessing.prepare(Path(said["path"]), tmp_path / "home")


def test_a_checkpoints_template_decides_what_an_assistant_says() -> None:
    made = language.learn(["user assistant hello there"], Wish(vocabulary=300))
    said = LanguagePreprocessing(
        tokenizer=made.tokenizer, max_length=64, stride=64, pad=0, end=1, template=CHATML
    )
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "there"},
    ]
    row = said.chat(messages)
    answered = [one for one, counts in zip(row.ids, row.counts, strict=True) if counts]
    assert said.tokenizer.decode(answered) == "there<|im_end|>\n"
    whole = chats.render(CHATML, messages, {}, opens=False)
    assert said.tokenizer.decode(row.ids) == whole


def test_a_template_that_changes_earlier_words_is_refused() -> None:
    made = language.learn(["some words"], Wish(vocabulary=300))
    said = LanguagePreprocessing(
        tokenizer=made.tokenizer, max_length=64, stride=64, pad=0, end=1,
        template="{{ messages | length }} {% for m in messages %}{{ m.content }}{% endfor %}",
    )  # fmt: skip
    with pytest.raises(ModelError, match="changes earlier words"):
        said.chat([{"role": r, "content": "x"} for r in ("user", "assistant") * 2])


def test_characters_are_counted_once_however_many_bytes_and_tokens_they_take(
    tmp_path: Path,
) -> None:
    texts = ["naïve — 東京 🙂 ok"] * 10
    said = writings.rows(tmp_path / "d.parquet", texts)
    _, inputs = prepared(said, tmp_path / "home", kind="bpe", vocabulary=260, max_length=64)
    counted = inputs.letters[: len(inputs.letters) // 10].sum()
    assert counted == len(texts[0])


def test_a_tokenizer_is_made_of_training_rows_alone_and_the_same_each_time(tmp_path: Path) -> None:
    texts = ["abc", "abd", "abe", "q", "z"] * 2  # q is for validation, z for the test
    said = writings.rows(tmp_path / "d.parquet", texts)
    one = language.train(writings.opened(said), Wish(kind="character", vocabulary=64))
    two = language.train(writings.opened(said), Wish(kind="character", vocabulary=64))
    assert one.digest == two.digest
    assert one.tokenizer.token_to_id("e") is not None
    assert one.tokenizer.token_to_id("q") is None
    assert one.tokenizer.encode("q").tokens == ["<|unknown|>"]
    pieces = [language.learn(texts, Wish(vocabulary=270)).digest for _ in range(2)]
    assert pieces[0] == pieces[1]


@pytest.mark.parametrize("kind", ["character", "bpe"])
def test_tokens_become_the_text_they_came_from(kind: str) -> None:
    text = "To be, or not\n\n  to be: ünïcode — 東"
    said = language.learn([text], Wish(kind=kind, vocabulary=300))
    ids = said.tokenizer.encode(text, add_special_tokens=False).ids
    assert said.decode(ids) == text
    assert said.answer(text, ended=True) == [*ids, said.end]


def test_too_many_characters_for_the_vocabulary_are_counted_in_the_refusal() -> None:
    with pytest.raises(DataError, match="26 different characters"):
        language.learn(["abcdefghijklmnopqrstuvwxyz"], Wish(kind="character", vocabulary=20))


def test_a_prompt_that_ends_in_a_word_gives_it_back_to_the_answer() -> None:
    def decode(ids: list[int]) -> str:
        return "".join(["say", " he", "llo", " again", "st"][one] for one in ids)

    assert generation.after_a_word([0, 1], [2, 3], decode) == ([0], [1, 2, 3])
    assert generation.after_a_word([0, 1, 2], [3], decode) == ([0, 1, 2], [3])
    assert generation.after_a_word([2], [4], decode) == ([2], [4])  # no word ends here
