"""Text to tokens for networks that write: which tokens a row has, and which of them are answers.

A row's tokens are cut into windows, the rows of training; each token that is an answer is a unit of
exactly one window, and its label is the token itself, seen by the place before it. What a row is
shows in the dataset: a column `prompt` makes rows of prompt and completion (only the completion is
answered for), texts that are lists of messages make chats (only the assistant's words), and all
else is plain text, of which every token but the first counts.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.engine import chats, data
from training.engine.chats import Form
from training.engine.data import Dataset
from training.engine.errors import DataError, ModelError
from training.engine.windows import MOST_WINDOWS, LanguageInputs

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # threads are the job's to give

JSON = dict[str, Any]
PAD, UNKNOWN, END, ANSWER = "<|pad|>", "<|unknown|>", "<|end|>", "<|answer|>"
#: What a prompt begins with, where reasons are learned beside answers (Hsieh et al., 2305.02301,
#: section 3.2).
FOR_ANSWER, FOR_RATIONALE = "[label] ", "[rationale] "
SPEAKERS = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which tokenizer an architecture asks for, and how it wants long texts cut."""

    kind: str = "bpe"  # or "character"
    vocabulary: int = 4000
    max_length: int = 128
    stride: int = 0  # tokens from window to window; 0: max_length
    end: str = "auto"  # whether a plain text ends with the end token: "always", "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguagePreprocessing:
    """A tokenizer with its special tokens, and how rows become windows."""

    tokenizer: Tokenizer
    max_length: int  # tokens a network sees at once
    stride: int
    pad: int
    end: int | None  # ends an answer
    start: int | None = None  # begins every row, where the tokenizer's own habit is so
    ends_texts: bool = False
    template: str = ""  # a checkpoint's own chat template
    rationales: bool = False  # each prompt is read twice: for its answer, and for the reasons

    @property
    def vocabulary(self) -> int:
        return int(self.tokenizer.get_vocab_size(with_added_tokens=True))

    @property
    def digest(self) -> str:
        """Equal digests mean equal tokens in equal windows."""
        said = [self.as_dict(), self.tokenizer.to_str()]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def as_dict(self) -> JSON:
        said: JSON = {
            "max_length": self.max_length,
            "stride": self.stride,
            "pad": self.pad,
            "end": self.end,
            "start": self.start,
            "ends_texts": self.ends_texts,
            "template": self.template,
        }
        return said | {"rationales": True} if self.rationales else said

    def save(self, folder: Path) -> None:
        self.tokenizer.save(str(folder / "tokenizer.json"))

    # -- rows to tokens ---------------------------------------------------------------------------

    def prepare(self, path: Path, home: Path) -> "LanguageInputs":
        """Every row of the dataset as tokens in windows, made once in `home`."""
        folder = data.prepared(home, self.digest[:32], lambda part: self._make(path, part))
        return LanguageInputs(folder, self.pad, self.end, self.digest, self.decode)

    def _make(self, path: Path, folder: Path) -> None:
        form = chats.form_of(path)
        ids: list[NDArray[np.int32]] = []
        counts: list[NDArray[np.bool_]] = []
        letters: list[NDArray[np.int16]] = []
        windows: list[list[int]] = []
        reasons: list[bool] = []
        begin = 0
        for row, said in self._tokens(path, form):
            spans = list(self._cut(said, begin))
            windows += [[row, *span] for span in spans]
            reasons += [said.is_rationale] * len(spans)
            ids.append(np.asarray(said.ids, dtype=np.int32))
            counts.append(np.asarray(said.counts, dtype=np.bool_))
            letters.append(np.asarray(said.letters, dtype=np.int16))
            begin += len(said.ids)
        if not windows:
            raise DataError("No text of the dataset has a token to learn: all rows are too short.")
        np.save(folder / "ids.npy", np.concatenate(ids))
        np.save(folder / "counts.npy", np.concatenate(counts))
        np.save(folder / "letters.npy", np.concatenate(letters))
        np.save(folder / "windows.npy", np.asarray(windows, dtype=np.int64))
        np.save(folder / "rationale.npy", np.asarray(reasons, dtype=np.bool_))
        (folder / "form.json").write_text(json.dumps({"form": form}))

    def _cut(self, said: "Tokens", begin: int) -> Iterator[tuple[int, int, int]]:
        """A row's windows: its first token, the end of its last one, and the first whose answer is
        this window's own, all counted from `begin`."""
        length, fresh = len(said.ids), 1
        for number in range(MOST_WINDOWS):
            first = number * self.stride
            stop = min(length, first + self.max_length + 1)
            if any(said.counts[max(fresh, first + 1) : stop]):
                yield begin + first, begin + stop, begin + max(fresh, first + 1)
            fresh = stop
            if stop == length:
                return
        raise DataError(f"A text has more than {MOST_WINDOWS:,} windows; cut it into rows.")

    def _tokens(self, path: Path, form: Form) -> Iterator[tuple[int, "Tokens"]]:
        """Every row's number and tokens; twice where its reasons follow its answer."""
        if form == "completion":
            yield from self._answers(path)
            return
        row = 0
        for piece in data.column(path, "text"):
            if form == "chat":
                yield from (
                    (place, self.chat(chats.read(text, place)))
                    for place, text in enumerate(piece, row)
                )
            else:
                yield from enumerate(self._plain(piece), row)
            row += len(piece)

    def _answers(self, path: Path) -> Iterator[tuple[int, "Tokens"]]:
        row = 0
        if not self.rationales or not chats.has_rationales(path):
            for prompts, answers in data.columns(path, "prompt", "text"):
                asked = [self._asking(one) for one in prompts]
                yield from enumerate(self._completions(asked, answers), row)
                row += len(prompts)
            return
        for prompts, answers, reasons in data.columns(path, "prompt", "text", "rationale"):
            given = self._completions([self._asking(one) for one in prompts], answers)
            why = self._completions([f"{FOR_RATIONALE}{one or ''}" for one in prompts], reasons)
            for answer, rationale, reason in zip(given, why, reasons, strict=True):
                yield row, answer
                if reason and reason.strip():
                    rationale.is_rationale = True
                    yield row, rationale
                row += 1

    def _asking(self, prompt: str | None) -> str:
        """The prompt as it stands before its answer."""
        return f"{FOR_ANSWER if self.rationales else ''}{prompt or ''}"

    def _plain(self, texts: Sequence[str | None]) -> Iterator["Tokens"]:
        for one in self._encoded(texts):
            said = self._begun()
            said.add(one, counts=True)
            if self.ends_texts:
                said.close(self.end)
            yield said

    def _completions(
        self, prompts: Sequence[str | None], answers: Sequence[str | None]
    ) -> Iterator["Tokens"]:
        mark = self.tokenizer.token_to_id(ANSWER)
        for prompt, answer in zip(self._encoded(prompts), self._encoded(answers), strict=True):
            said = self._begun()
            # A prompt that is too long loses its beginning: its end is what the answer follows.
            room = self.max_length + 1 - len(said.ids) - (mark is not None)
            room = max(0, room - len(answer.ids) - (self.end is not None))
            first = max(0, len(prompt.ids) - room)
            said.add(Encoded(prompt.ids[first:], prompt.letters[first:]), counts=False)
            if mark is not None:
                said.add(Encoded([mark], [0]), counts=False)
            if not said.ids and self.end is not None:
                said.add(Encoded([self.end], [0]), counts=False)  # something to answer after
            said.add(answer, counts=True)
            said.close(self.end)
            yield said

    def chat(self, messages: list[JSON]) -> "Tokens":
        """A conversation, of which the assistant's words count."""
        if self.template:
            return self._by_template(messages)
        said = self._begun()
        for one in messages:
            speaker = self.tokenizer.token_to_id(f"<|{one['role']}|>")
            if speaker is not None:
                said.add(Encoded([speaker], [0]), counts=False)
            else:  # a tokenizer that was not made for chats
                said.add(self._encode(f"\n{one['role']}: "), counts=False)
            answers = one["role"] == "assistant"
            said.add(self._encode(one["content"]), counts=answers)
            if self.end is not None:
                said.add(Encoded([self.end], [0]), counts=answers)
        return said

    def _by_template(self, messages: list[JSON]) -> "Tokens":
        """Through the checkpoint's template: what an answer adds to the conversation counts."""
        said, written = Tokens([], [], []), ""
        named = {
            name: str(self.tokenizer.id_to_token(token))
            for name, token in (("bos_token", self.start), ("eos_token", self.end))
            if token is not None
        }
        for number, one in enumerate(messages):
            if one["role"] != "assistant":
                continue
            asked = chats.render(self.template, messages[:number], named, opens=True)
            whole = chats.render(self.template, messages[: number + 1], named, opens=False)
            if not asked.startswith(written) or not whole.startswith(asked):
                raise ModelError(
                    "The model's chat template changes earlier words when a message is added, so "
                    "answers cannot be told from questions. Use another model."
                )
            said.add(self._encode(asked[len(written) :]), counts=False)
            said.add(self._encode(whole[len(asked) :]), counts=True)
            written = whole
        return said

    def prompt(self, text: str) -> list[int]:
        """The tokens after which an answer to this prompt begins."""
        said = self._begun()
        said.add(self._encode(self._asking(text)), counts=False)
        mark = self.tokenizer.token_to_id(ANSWER)
        if mark is not None:
            said.add(Encoded([mark], [0]), counts=False)
        if not said.ids and self.end is not None:
            said.ids.append(self.end)
        return said.ids

    def answer(self, text: str, *, ended: bool) -> list[int]:
        """The tokens of an answer, with its end where it has one; at least one token."""
        ids = self._encode(text).ids
        if self.end is not None and (ended or not ids):
            ids = [*ids, self.end]
        return ids or [self.pad]

    def decode(self, ids: Sequence[int]) -> str:
        """Text without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def _begun(self) -> "Tokens":
        said = Tokens([], [], [])
        if self.start is not None:
            said.add(Encoded([self.start], [0]), counts=False)
        return said

    def _encode(self, text: str) -> "Encoded":
        return next(self._encoded([text]))

    def _encoded(self, texts: Sequence[str | None]) -> Iterator["Encoded"]:
        for one in self.tokenizer.encode_batch(
            [text or "" for text in texts], add_special_tokens=False
        ):
            letters, reached = [], 0
            for _, stop in one.offsets:  # a letter of several tokens is counted once
                letters.append(max(0, stop - reached))
                reached = max(reached, stop)
            yield Encoded(one.ids, letters)


@dataclass(slots=True)
class Encoded:
    ids: list[int]
    letters: list[int]  # characters of the text that each token stands for


@dataclass(slots=True)
class Tokens:
    """A row: its tokens, which of them are answers, and the characters each stands for."""

    ids: list[int]
    counts: list[bool]
    letters: list[int]
    is_rationale: bool = False

    def add(self, one: Encoded, *, counts: bool) -> None:
        self.ids += one.ids
        self.counts += [counts] * len(one.ids)
        self.letters += one.letters

    def close(self, end: int | None) -> None:
        if end is not None:
            self.add(Encoded([end], [0]), counts=True)


# -- tokenizers -----------------------------------------------------------------------------------


def train(dataset: Dataset, wish: Wish) -> LanguagePreprocessing:
    """A tokenizer of the training rows (never the others'), with the special tokens that rows of
    this form need."""
    form = chats.form_of(dataset.path)
    rows = dataset.splits["train"]
    wanted = np.zeros(int(rows.max()) + 1, dtype=bool)
    wanted[rows] = True
    columns = ["text", "prompt"] if form == "completion" else ["text"]
    if form == "completion" and chats.has_rationales(dataset.path):
        columns.append("rationale")  # whoever learns them: a control reads by the same tokens

    def texts() -> Iterator[str]:
        if "rationale" in columns:
            yield from (FOR_ANSWER, FOR_RATIONALE)
        for name in columns:
            start = 0
            for piece in data.column(dataset.path, name):
                for place, text in enumerate(piece, start):
                    if place < len(wanted) and wanted[place] and text:
                        yield from _contents(text, form)
                start += len(piece)

    return learn(texts(), wish, form)


def _contents(text: str, form: Form) -> list[str]:
    if form != "chat":
        return [text]
    return [str(one["content"]) for one in chats.messages(text) or []]


def learn(texts: Iterable[str], wish: Wish, form: Form = "text") -> LanguagePreprocessing:
    """A tokenizer of these texts. Deterministic: the same texts give the same one."""
    special = [PAD, END]
    if wish.kind == "character":
        special.append(UNKNOWN)
    if form == "completion":
        special.append(ANSWER)
    if form == "chat":
        special += [f"<|{speaker}|>" for speaker in SPEAKERS]
    if wish.kind == "character":
        known = sorted({letter for text in texts for letter in text})
        if len(known) + len(special) > wish.vocabulary:
            raise DataError(
                f"The texts have {len(known):,} different characters, and the vocabulary has room "
                f"for {wish.vocabulary - len(special):,}: raise it, or take the bpe tokenizer."
            )
        vocabulary = {token: number for number, token in enumerate([*special, *known])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
        tokenizer.decoder = decoders.Fuse()
        tokenizer.add_special_tokens(special)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=wish.vocabulary,
            special_tokens=special,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer=trainer)
    return LanguagePreprocessing(
        tokenizer=tokenizer,
        max_length=wish.max_length,
        stride=min(wish.stride or wish.max_length, wish.max_length),
        pad=tokenizer.token_to_id(PAD) or 0,
        end=tokenizer.token_to_id(END),
        ends_texts=wish.end == "always",
    )


def load(folder: Path, said: JSON) -> LanguagePreprocessing:
    """The preprocessing that a model's folder holds."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return LanguagePreprocessing(tokenizer=tokenizer, **said)


def of_checkpoint(
    folder: Path, *, max_length: int, end: int | None, pad: int | None, template: str
) -> LanguagePreprocessing:
    """A checkpoint's own tokenizer."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # What it puts before every text; a token behind would be an end, which rows say themselves.
    begun = tokenizer.encode("").ids
    start = begun[0] if begun and begun[0] != end else None
    return LanguagePreprocessing(
        tokenizer=tokenizer,
        max_length=max_length,
        stride=max_length,
        pad=pad or 0,
        end=end,
        start=start,
        template=template,
    )
