"""Which of the student's layers learns from which of the teacher's.

Layers are numbered as in papers: 0 is the embeddings' output, 1 the first layer, and so on. A
choice is written as a rule (`uniform`, `last`, `last_2`, `every_3`, `first_and_last`,
`similarity`) or as pairs, `1:3, 2:6`, the student's layer first.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.engine import activations, similarity

Pairs = tuple[tuple[int, int], ...]

HELP = (
    "Student's layers and the teacher's they learn from: uniform (spread evenly; a fourth of the "
    "layers learns from every fourth), last, last_2 (the last two, ...), every_3 (the teacher's "
    "3rd, 6th, ...), first_and_last, similarity (the most alike on the first batch, in order), or "
    "pairs such as 1:3, 2:6, where 0 is the embeddings."
)
OFFERED = (
    "It must be uniform, last, last_2, every_3, first_and_last, similarity, or pairs such as "
    "1:3, 2:6."
)
MOST = 64  # pairs


@dataclass(frozen=True, slots=True)
class Choice:
    """`number` belongs to last_n and every_k; `pairs` are there when they were written out."""

    rule: str
    number: int = 0
    pairs: Pairs = ()


def read(text: str) -> Choice:
    """A written choice. Raises ValueError with a sentence."""
    said = text.strip().lower()
    if said == "last":
        return Choice("last", 1)
    if said in ("uniform", "first_and_last", "similarity"):
        return Choice(said)
    numbered = re.fullmatch(r"(last|every)_([1-9]\d{0,2})", said)
    if numbered:
        return Choice(numbered[1], int(numbered[2]))
    parts = [part for part in re.split(r"[,;\s]+", re.sub(r"\s*:\s*", ":", said)) if part]
    if not parts or not all(re.fullmatch(r"\d{1,3}:\d{1,3}", part) for part in parts):
        raise ValueError(OFFERED)
    pairs = tuple((int(mine), int(theirs)) for mine, theirs in (p.split(":") for p in parts))
    if len(pairs) > MOST:
        raise ValueError(f"It may name at most {MOST} pairs.")
    if len(set(pairs)) < len(pairs):
        raise ValueError("It names a pair twice; give the term more weight instead.")
    return Choice("pairs", pairs=pairs)


def choose(
    choice: Choice,
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    mask: Tensor | None,
    first: int,
) -> Pairs:
    """The pairs of two networks. `first` is the number of the first of the given layers: 0 where
    the embeddings are among them, else 1. Raises ValueError with a sentence."""
    if not student or not teacher:
        who = "student" if not student else "teacher"
        raise ValueError(f"The {who} shows no such layers; take a term that compares logits.")
    mine, theirs = len(student) - 1 + first, len(teacher) - 1 + first
    pairs = choice.pairs
    if choice.rule == "similarity":
        pairs = most_alike(student, teacher, mask, first)
    elif choice.rule != "pairs":
        pairs = by_rule(choice, mine, theirs)
    for place, (one, two) in enumerate(pairs):
        if not first <= one <= mine:
            raise ValueError(_missing("student", pairs[place], one, first, mine))
        if not first <= two <= theirs:
            raise ValueError(_missing("teacher", pairs[place], two, first, theirs))
    return pairs


def by_rule(choice: Choice, mine: int, theirs: int) -> Pairs:
    """Pairs of a student and a teacher whose last layers have these numbers. A network that shows
    nothing but one layer, number 0, offers that. Raises ValueError with a sentence when the rule
    finds no pair."""
    lone_student, lone_teacher = mine == 0, theirs == 0
    mine, theirs = max(mine, 1), max(theirs, 1)
    pairs: Pairs = ()
    match choice.rule:
        case "uniform":  # TinyBERT's g(m) = 3m is that of 4 and 12 layers
            pairs = tuple((one, -(-one * theirs // mine)) for one in range(1, mine + 1))
        case "first_and_last":
            pairs = ((1, 1), (mine, theirs)) if mine > 1 else ((1, theirs),)
        case "last":
            fewest = min(mine, theirs, choice.number)
            pairs = tuple((mine - up, theirs - up) for up in reversed(range(fewest)))
        case "every":
            most = min(mine, theirs // choice.number)
            pairs = tuple((one, one * choice.number) for one in range(1, most + 1))
    if not pairs:
        raise ValueError(
            f"every_{choice.number} finds no pair: the teacher has only {theirs} layers."
        )
    return tuple((0 if lone_student else one, 0 if lone_teacher else two) for one, two in pairs)


def most_alike(
    student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor | None, first: int
) -> Pairs:
    """Each layer of the student with the teacher's most similar one, in order (similarity.py).

    Places are the samples where both have the same, else the rows, each the mean of its places.
    """
    mine, my_first = _layers(student, first)
    theirs, their_first = _layers(teacher, first)
    by_place = all(one.ndim == 3 and one.shape[:2] == mine[0].shape[:2] for one in (*mine, *theirs))
    gather = activations.samples if by_place else activations.average
    with torch.no_grad():
        ours = [gather(one, mask) for one in mine]
        others = [gather(one, mask) for one in theirs]
        scores = torch.tensor(
            [[similarity.linear_cka(one, two) for two in others] for one in ours],
            dtype=torch.float64,
        )
    found = similarity.in_order(scores)
    return tuple((my_first + one, their_first + two) for one, two in enumerate(found))


def _layers(shown: Sequence[Tensor], first: int) -> tuple[Sequence[Tensor], int]:
    """The layers without the embeddings, unless there is nothing else; the first one's number."""
    if first == 0 and len(shown) > 1:
        return shown[1:], 1
    return shown, first


def _missing(who: str, pair: tuple[int, int], layer: int, first: int, last: int) -> str:
    return (
        f"The pair {pair[0]}:{pair[1]} names layer {layer} of the {who}, which has layers {first} "
        f"to {last}."
    )
