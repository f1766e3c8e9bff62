"""Terms that compare layers, attention and embeddings: which layers, how, and what is refused."""

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tests.engine import spoken
from tests.engine.spoken import Case
from training.engine import layer_pairs, similarity
from training.engine.answers import Answer
from training.engine.errors import ConfigError
from training.engine.layer_pairs import Choice
from training.engine.losses import Loss, relational
from training.engine.projections import Projections

NO_LABELS = torch.full((6,), -1)


def fitted(key: str, student: Answer, teacher: Answer, **values: Any) -> tuple[Loss, nn.Module]:
    return Case(key).fitted(student, teacher, **values)


def values(key: str, student: Answer, teacher: Answer, **options: Any) -> Tensor:
    term, _ = fitted(key, student, teacher, **options)
    return term.values(student, teacher, torch.full((len(student.logits),), -1))


def refused(key: str, student: Answer, teacher: Answer, **options: Any) -> tuple[str, str]:
    """The field and the sentence of the only fault."""
    with pytest.raises(ConfigError) as raised:
        fitted(key, student, teacher, **options)
    [fault] = raised.value.faults
    return fault.field, fault.sentence


# -- which layers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "mine", "theirs", "pairs"),
    [
        ("uniform", 4, 12, ((1, 3), (2, 6), (3, 9), (4, 12))),
        ("uniform", 4, 6, ((1, 2), (2, 3), (3, 5), (4, 6))),
        ("uniform", 3, 2, ((1, 1), (2, 2), (3, 2))),
        ("last", 4, 12, ((4, 12),)),
        ("last_3", 4, 12, ((2, 10), (3, 11), (4, 12))),
        ("last_9", 2, 12, ((1, 11), (2, 12))),
        ("every_2", 6, 12, ((1, 2), (2, 4), (3, 6), (4, 8), (5, 10), (6, 12))),
        ("every_5", 6, 12, ((1, 5), (2, 10))),
        ("first_and_last", 4, 12, ((1, 1), (4, 12))),
        ("first_and_last", 1, 12, ((1, 12),)),
        ("uniform", 0, 4, ((0, 4),)),
        ("uniform", 3, 0, ((1, 0), (2, 0), (3, 0))),
    ],
)
def test_a_rule_pairs_layers_as_papers_do(
    written: str, mine: int, theirs: int, pairs: layer_pairs.Pairs
) -> None:
    assert layer_pairs.by_rule(layer_pairs.read(written), mine, theirs) == pairs


def test_pairs_may_be_written_out() -> None:
    for written in ("1:3, 2:6", " 1 : 3;2:6 ", "1:3 2:6"):
        assert layer_pairs.read(written) == Choice("pairs", pairs=((1, 3), (2, 6)))


@pytest.mark.parametrize(
    "written", ["", "1-3", "1:", "all", "last_0", "every", "1:3, 1:3", "1:3:5", "one:two"]
)
def test_what_is_no_choice_of_layers_is_refused_with_a_sentence(written: str) -> None:
    for key in ("hidden_states", "attention_maps"):
        with pytest.raises(ConfigError) as raised:
            Case(key).term(layers=written)
        [fault] = raised.value.faults
        assert fault.field == f"{key}.layers"
        assert fault.sentence.endswith(".")


def test_layers_that_are_not_there_are_refused_by_name() -> None:
    student, teacher = spoken.text(layers=2), spoken.text(layers=4)
    field, sentence = refused("hidden_states", student, teacher, layers="1:2, 3:4")
    assert field == "hidden_states.layers"
    assert "3:4" in sentence
    assert "layers 0 to 2" in sentence
    field, sentence = refused("attention_maps", student, teacher, layers="0:1")
    assert "layers 1 to 2" in sentence
    _, sentence = refused("hidden_states", student, teacher, layers="every_5")
    assert "only 4 layers" in sentence
    _, sentence = refused("hidden_states", replace(student, hidden=()), teacher)
    assert "student shows no such layers" in sentence


def test_cka_is_1_for_the_same_turned_and_scaled_and_about_0_for_strangers() -> None:
    chance = torch.Generator().manual_seed(0)
    x = torch.randn(60, 40, generator=chance)
    turn, _ = torch.linalg.qr(torch.randn(40, 40, generator=chance))
    assert similarity.linear_cka(x, x) == pytest.approx(1.0)
    assert similarity.linear_cka(x, 3.0 * (x @ turn) + 5.0) == pytest.approx(1.0)
    assert abs(similarity.linear_cka(x, torch.randn(60, 40, generator=chance))) < 0.1
    one, two = x - x.mean(0), torch.randn(60, 40, generator=chance)
    two = two - two.mean(0)
    usual = (one.T @ two).norm() ** 2 / ((one.T @ one).norm() * (two.T @ two).norm())
    assert usual > 0.3  # the usual estimate, of strangers


def test_cka_of_nothing_that_varies_is_0() -> None:
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    assert similarity.linear_cka(x, torch.ones(9, 3)) == 0.0
    assert similarity.linear_cka(x[:3], x[:3]) == 0.0


@pytest.mark.parametrize(("mine", "theirs"), [(1, 4), (3, 5), (4, 4), (4, 2)])
def test_the_best_pairs_in_order_are_those_of_trying_all(mine: int, theirs: int) -> None:
    for seed in range(20):
        scores = torch.rand(mine, theirs, generator=torch.Generator().manual_seed(seed))
        step = 1 if theirs >= mine else 0
        orders = [
            order
            for order in itertools.product(range(theirs), repeat=mine)
            if all(two >= one + step for one, two in itertools.pairwise(order))
        ]
        best = max(
            orders, key=lambda order: sum(float(scores[at, to]) for at, to in enumerate(order))
        )
        assert similarity.in_order(scores) == list(best)


def test_similarity_finds_the_layers_that_were_planted() -> None:
    """The student's layers are the teacher's second and fifth, turned and narrowed."""
    chance = torch.Generator().manual_seed(1)
    teacher = spoken.text(rows=24, layers=6, width=16, seed=1)
    student = spoken.text(rows=24, layers=2, width=12, seed=2)
    planted = [teacher.hidden[at] @ torch.randn(16, 12, generator=chance) for at in (2, 5)]
    student = replace(student, hidden=(student.hidden[0], *planted))
    term, own = fitted("hidden_states", student, teacher, layers="similarity")
    assert isinstance(own, Projections)
    assert own.pairs == ((1, 2), (2, 5))
    assert torch.isfinite(term.values(student, teacher, NO_LABELS)).all()


def test_similarity_compares_rows_where_places_differ() -> None:
    maps, text = spoken.maps(), spoken.text()
    _, own = fitted("hidden_states", maps, text, layers="similarity", places="mean")
    assert isinstance(own, Projections)
    assert [mine for mine, _ in own.pairs] == [1, 2]
    _, own = fitted("attention_maps", text, spoken.text(layers=4, seed=3), layers="similarity")
    assert isinstance(own, Projections)
    assert len(own.pairs) == 2


# -- projections -----------------------------------------------------------------------------------


def test_projections_are_there_where_widths_differ_or_when_always_wanted() -> None:
    narrow, wide = spoken.text(width=4), spoken.text(width=8, seed=1)
    _, own = fitted("hidden_states", narrow, wide)
    assert [tuple(one.shape) for one in own.parameters()] == [(8, 4), (8,), (8, 4), (8,)]
    _, own = fitted("hidden_states", narrow, narrow)
    assert not list(own.parameters())
    _, own = fitted("hidden_states", narrow, narrow, projection="always")
    assert len(list(own.parameters())) == 4


def test_a_projection_learns_what_a_linear_map_can_say() -> None:
    """The student's layer holds all of the teacher's, in other words; the term goes to 0."""
    chance = torch.Generator().manual_seed(0)
    student = spoken.text(width=8)
    teacher = replace(
        spoken.text(width=4, seed=1),
        hidden=tuple(one @ torch.randn(8, 4, generator=chance) for one in student.hidden),
    )
    term, own = fitted("hidden_states", student, teacher)
    optimizer = torch.optim.Adam(own.parameters(), lr=0.1)
    first = float(term.values(student, teacher, NO_LABELS).detach().mean())
    for _ in range(200):
        optimizer.zero_grad()
        loss = term.values(student, teacher, NO_LABELS).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert first > 1.0
    assert float(loss.detach()) < 0.01


def test_a_checkpoint_brings_back_weights_and_pairs(tmp_path: Path) -> None:
    """Even where the first batch of the resumed run would propose other pairs."""
    narrow, wide = spoken.text(width=4), spoken.text(width=8, layers=4, seed=1)
    term, own = fitted("hidden_states", narrow, wide, layers="1:4, 2:1")
    save_file(own.state_dict(), tmp_path / "beside.safetensors")
    before = term.values(narrow, wide, NO_LABELS)
    torch.manual_seed(9)
    again = Case("hidden_states").term(layers="1:2, 2:4")
    fresh = again.fit(narrow, wide)
    assert fresh is not None
    assert not torch.equal(again.values(narrow, wide, NO_LABELS), before)
    fresh.load_state_dict(load_file(tmp_path / "beside.safetensors"))
    assert torch.equal(again.values(narrow, wide, NO_LABELS), before)


# -- hidden states ---------------------------------------------------------------------------------


def test_hidden_states_are_the_mean_over_real_places_of_each_row() -> None:
    student, teacher = spoken.text(), spoken.text(seed=1)
    assert student.mask is not None
    found = values("hidden_states", student, teacher, layers="2:1")
    one, two = student.hidden[2], teacher.hidden[1]
    unit = values("hidden_states", student, teacher, layers="2:1", measure="normalised")
    cosine = values("hidden_states", student, teacher, layers="2:1", measure="cosine")
    first = values("hidden_states", student, teacher, layers="2:1", places="first")
    for row, real in enumerate(student.mask.sum(1).tolist()):
        mine, theirs = one[row, :real], two[row, :real]
        assert float(found[row]) == pytest.approx(float(F.mse_loss(mine, theirs)), rel=1e-5)
        turned = F.normalize(mine, dim=1) - F.normalize(theirs, dim=1)
        assert float(unit[row]) == pytest.approx(float(turned.square().sum(1).mean()), rel=1e-5)
        apart = 1 - F.cosine_similarity(mine, theirs, dim=1).mean()
        assert float(cosine[row]) == pytest.approx(float(apart), rel=1e-5)
        assert float(first[row]) == pytest.approx(float(F.mse_loss(mine[0], theirs[0])), rel=1e-5)


def test_pairs_of_layers_add_up() -> None:
    student, teacher = spoken.text(), spoken.text(seed=1)
    both = values("hidden_states", student, teacher, layers="1:1, 2:2")
    one, two = (values("hidden_states", student, teacher, layers=at) for at in ("1:1", "2:2"))
    assert torch.allclose(both, one + two)


def test_the_larger_map_is_pooled_to_the_smaller_whichever_side_it_is_on() -> None:
    small, large = spoken.maps(side=6), spoken.maps(side=12, seed=1)
    found = values("hidden_states", small, large, layers="0:0")
    pooled = F.adaptive_avg_pool2d(large.hidden[0], (6, 6))
    expected = (small.hidden[0] - pooled).square().mean(dim=(1, 2, 3))
    assert torch.allclose(found, expected)
    assert torch.allclose(values("hidden_states", large, small, layers="0:0"), expected)


def test_channels_are_projected_where_their_numbers_differ() -> None:
    narrow, wide = spoken.maps(channels=3), spoken.maps(channels=5, seed=1)
    _, own = fitted("hidden_states", narrow, wide, layers="last")
    assert [tuple(one.shape) for one in own.parameters()] == [(5, 3), (5,)]
    assert values("hidden_states", narrow, wide).shape == (6,)


def test_networks_of_two_kinds_are_compared_by_the_mean_of_places_or_not_at_all() -> None:
    maps, text = spoken.maps(), spoken.text()
    field, sentence = refused("hidden_states", maps, text, layers="1:1")
    assert field == "hidden_states.places"
    assert "Take the mean of places." in sentence
    assert values("hidden_states", maps, text, layers="1:1", places="mean").shape == (6,)
    flat = replace(maps, hidden=(torch.randn(6, 7),))  # a small network with one layer
    assert values("hidden_states", flat, text, places="mean").shape == (6,)


def test_the_mean_of_places_is_that_of_real_ones() -> None:
    student, teacher = spoken.text(), spoken.text(seed=1)
    assert student.mask is not None
    found = values("hidden_states", student, teacher, layers="1:1", places="mean")
    for row, real in enumerate(student.mask.sum(1).tolist()):
        apart = student.hidden[1][row, :real].mean(0) - teacher.hidden[1][row, :real].mean(0)
        assert float(found[row]) == pytest.approx(float(apart.square().mean()), rel=1e-5)


def test_vectors_of_length_0_have_a_gradient_that_can_be_used() -> None:
    student, teacher = spoken.text(), spoken.text(seed=1)
    hidden = tuple(torch.zeros_like(one, requires_grad=True) for one in student.hidden)
    silent = replace(student, hidden=hidden)
    values("hidden_states", silent, teacher, measure="cosine").sum().backward()  # type: ignore[no-untyped-call]
    assert hidden[1].grad is not None
    assert hidden[1].grad.abs().max() < 1e7


# -- attention -------------------------------------------------------------------------------------


def test_attention_is_compared_among_real_tokens_only() -> None:
    student, teacher = spoken.text(), spoken.text(seed=1)
    assert student.mask is not None
    found = values("attention_maps", student, teacher, layers="1:2")
    for row, real in enumerate(student.mask.sum(1).tolist()):
        mine = student.attention[0][row, :, :real, :real]
        theirs = teacher.attention[1][row, :, :real, :real]
        assert float(found[row]) == pytest.approx(float(F.mse_loss(mine, theirs)), rel=1e-5)


def test_other_numbers_of_heads_are_compared_by_their_mean() -> None:
    student, teacher = spoken.text(heads=2), spoken.text(heads=4, seed=1)
    found = values("attention_maps", student, teacher)
    mean = [
        replace(one, attention=tuple(map.mean(1, keepdim=True) for map in one.attention))
        for one in (student, teacher)
    ]
    assert torch.allclose(found, values("attention_maps", *mean))


def test_scores_are_had_back_from_probabilities_but_for_a_constant_of_each_query() -> None:
    chance = torch.Generator().manual_seed(0)
    one, two = (torch.randn(6, 2, 5, 5, generator=chance) for _ in range(2))
    student, teacher = (
        replace(spoken.text(), mask=None, attention=(scores.softmax(-1),)) for scores in (one, two)
    )
    found = values("attention_maps", student, teacher, compare="scores")
    centred = (one - one.mean(-1, keepdim=True)) - (two - two.mean(-1, keepdim=True))
    assert torch.allclose(found, centred.square().mean(dim=(1, 2, 3)), rtol=1e-4)


def test_minilm_is_the_kl_of_attention_and_of_how_values_relate() -> None:
    student, teacher = spoken.text(width=6, heads=3), spoken.text(width=12, heads=3, seed=1)
    assert student.mask is not None
    found = values("attention_maps", student, teacher, form="minilm")
    for row, real in enumerate(student.mask.sum(1).tolist()):
        total = 0.0
        for left, right in ((0, 1), (2, 2)):
            for head in range(3):
                mine, theirs = (
                    torch.softmax(
                        one.relations[left][row, head, :real]
                        @ one.relations[right][row, head, :real].T
                        / math.sqrt(one.relations[left].shape[3]),
                        -1,
                    )
                    for one in (student, teacher)
                )
                total += float((theirs * (theirs / mine).log()).sum(-1).mean()) / 3
        assert float(found[row]) == pytest.approx(total, rel=1e-4)


def test_relation_heads_make_networks_of_other_heads_comparable() -> None:
    student, teacher = spoken.text(width=8, heads=2), spoken.text(width=12, heads=3, seed=1)
    for form in ("minilm", "minilm_v2"):
        field, sentence = refused("attention_maps", student, teacher, form=form)
        assert field == "attention_maps.relation_heads"
        assert "2 heads" in sentence
        assert values("attention_maps", student, teacher, form=form, relation_heads=4).shape == (6,)
        _, sentence = refused("attention_maps", student, teacher, form=form, relation_heads=3)
        assert "student's queries are 8 wide" in sentence
    own = values("attention_maps", student, student, form="minilm_v2")
    cut = values("attention_maps", student, student, form="minilm_v2", relation_heads=2)
    assert torch.equal(own, cut)


def test_queries_that_share_a_key_want_the_second_minilm() -> None:
    student, teacher = spoken.text(), spoken.text(seed=1)
    shared = replace(
        teacher, relations=(teacher.relations[0], *(one[..., :2] for one in teacher.relations[1:]))
    )
    field, sentence = refused("attention_maps", student, shared, form="minilm")
    assert field == "attention_maps.form"
    assert "take minilm_v2" in sentence
    assert values("attention_maps", student, shared, form="minilm_v2").shape == (6,)


def test_attention_of_other_tokens_and_maps_of_transformers_are_refused() -> None:
    student, teacher = spoken.text(), spoken.padded(spoken.text(seed=1), 2, seed=0)
    _, sentence = refused("attention_maps", student, teacher)
    assert "5 places and the teacher 7" in sentence
    _, sentence = refused("attention_maps", student, student, form="attention_transfer")
    assert "take tinybert or minilm" in sentence


# -- embeddings ------------------------------------------------------------------------------------


def test_embeddings_are_those_of_tokens_or_of_rows() -> None:
    student, teacher = spoken.text(), spoken.text(seed=1)
    assert student.embedding is not None
    assert teacher.embedding is not None
    tokens = values("embeddings", student, teacher)
    assert torch.equal(tokens, values("hidden_states", student, teacher, layers="0:0"))
    rows = values("embeddings", student, teacher, of="rows")
    assert torch.allclose(rows, (student.embedding - teacher.embedding).square().mean(1))
    cosine = values("embeddings", student, teacher, of="rows", measure="cosine")
    expected = 1 - F.cosine_similarity(student.embedding, teacher.embedding)
    assert torch.allclose(cosine, expected, atol=1e-6)


def test_embeddings_that_are_not_there_or_not_alike_are_refused() -> None:
    student, maps = spoken.text(), spoken.maps()
    field, sentence = refused("embeddings", student, maps)
    assert field == "embeddings.of"
    assert "Take the embeddings of rows." in sentence
    refused("embeddings", student, replace(maps, embedding=None), of="rows")
    assert values("embeddings", student, maps, of="rows").shape == (6,)


# -- rows beside rows ------------------------------------------------------------------------------


def rows(numbers: Tensor) -> Answer:
    return Answer(numbers[:, :2], embedding=numbers)


def test_relations_do_not_mind_how_a_space_is_turned_moved_or_scaled() -> None:
    chance = torch.Generator().manual_seed(0)
    teacher = torch.randn(8, 6, generator=chance)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=chance))
    turned = teacher @ turn
    for form, moved in (
        ("rkd", 3.0 * turned + 1.0),
        ("similarity_preserving", 3.0 * turned),
        ("pkt", 3.0 * turned),
    ):
        assert values("relational", rows(moved), rows(teacher), form=form).max() < 1e-5
        other = rows(torch.randn(8, 4, generator=chance))
        assert values("relational", other, rows(teacher), form=form).min() > 1e-4


def test_similarity_preserving_has_rows_of_length_1_as_in_the_paper() -> None:
    student, teacher = torch.randn(5, 3), torch.randn(5, 4)
    grams = [F.normalize(one @ one.T, p=2, dim=1) for one in (student, teacher)]
    found = values("relational", rows(student), rows(teacher), form="similarity_preserving")
    expected = (grams[0] - grams[1]).norm() ** 2 / 25
    assert float(found.mean()) == pytest.approx(float(expected), rel=1e-5)


def test_angles_in_parts_are_the_angles_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    student = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    teacher = torch.randn(9, 5, generator=torch.Generator().manual_seed(1))
    found = []
    for at_once in (relational.AT_ONCE, 200):
        monkeypatch.setattr(relational, "AT_ONCE", at_once)
        whole = values("relational", rows(student), rows(teacher))
        (pulled,) = torch.autograd.grad(whole.sum(), student)
        found.append((whole.detach(), pulled))
    assert torch.allclose(found[0][0], found[1][0])
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)


def test_rows_that_are_one_leave_relations_finite() -> None:
    same = torch.ones(4, 3, requires_grad=True)
    for form in ("rkd", "similarity_preserving", "pkt"):
        found = values("relational", rows(same), rows(torch.randn(4, 3)), form=form)
        (pulled,) = torch.autograd.grad(found.sum(), same)
        assert torch.isfinite(found).all()
        assert torch.isfinite(pulled).all()


def test_contrast_is_the_cross_entropy_of_finding_ones_own_row() -> None:
    student, teacher = torch.randn(5, 3), torch.randn(5, 4)
    term, own = fitted("contrastive", rows(student), rows(teacher), negatives="all")
    a, b = F.normalize(own.student(student)), F.normalize(own.teacher(teacher))  # type: ignore[operator]
    expected = F.cross_entropy(a @ b.T / 0.07, torch.arange(5), reduction="none")
    found = term.values(rows(student), rows(teacher), torch.zeros(5, dtype=torch.int64))
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_rows_of_ones_own_class_are_not_told_from_unless_asked() -> None:
    student, teacher = rows(torch.randn(4, 3)), rows(torch.randn(4, 4))
    term, _ = fitted("contrastive", student, teacher)
    alone = term.values(student, teacher, torch.zeros(4, dtype=torch.int64))
    assert alone.abs().max() < 1e-6  # nobody left to be told from
    unknown = term.values(student, teacher, torch.full((4,), -1))
    every, _ = fitted("contrastive", student, teacher, negatives="all")
    assert torch.equal(unknown, every.values(student, teacher, torch.zeros(4, dtype=torch.int64)))


def test_a_bank_remembers_steps_forgets_the_oldest_and_stands_in_checkpoints(
    tmp_path: Path,
) -> None:
    chance = torch.Generator().manual_seed(0)

    def step() -> tuple[Answer, Answer]:
        return (
            rows(torch.randn(3, 3, generator=chance, requires_grad=True)),
            rows(torch.randn(3, 4, generator=chance)),
        )

    student, teacher = step()
    term, own = fitted("contrastive", student, teacher, bank=5, negatives="all")
    unknown = torch.full((3,), -1)
    one, its = spoken.rows_of(student, slice(0, 1)), spoken.rows_of(teacher, slice(0, 1))
    for _ in range(2):  # the second time it is in the bank, and is not told from itself
        assert term.values(one, its, unknown[:1]).abs().max() < 1e-6
    term.values(student, teacher, unknown)
    late, theirs = step()
    before = term.values(late, theirs, unknown)
    plain, _ = fitted("contrastive", late, theirs, negatives="all")
    assert (before > plain.values(late, theirs, unknown)).all()
    save_file(own.state_dict(), tmp_path / "beside.safetensors")
    held = term.values(late, theirs, unknown)
    fresh, other = fitted("contrastive", student, teacher, bank=5, negatives="all")
    other.load_state_dict(load_file(tmp_path / "beside.safetensors"))
    assert torch.equal(fresh.values(late, theirs, unknown), held)
    with torch.no_grad():
        scored = term.values(late, theirs, unknown)  # scoring remembers nothing
        assert torch.equal(term.values(late, theirs, unknown), scored)


def test_without_a_bank_the_heads_are_all_that_a_checkpoint_needs(tmp_path: Path) -> None:
    student, teacher = rows(torch.randn(3, 3)), rows(torch.randn(3, 4))
    _, own = fitted("contrastive", student, teacher)
    save_file(own.state_dict(), tmp_path / "beside.safetensors")
    _, other = fitted("contrastive", student, teacher, width=128)
    other.load_state_dict(load_file(tmp_path / "beside.safetensors"))


def test_networks_without_a_last_vector_are_refused() -> None:
    student, teacher = spoken.text(), replace(spoken.text(seed=1), embedding=None)
    for key in ("relational", "contrastive"):
        field, sentence = refused(key, student, teacher)
        assert field == key
        assert "take another term" in sentence
