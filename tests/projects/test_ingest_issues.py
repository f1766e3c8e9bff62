"""What is found wrong with rows beside what equal inputs show: near duplicates, languages, lengths,
personal data, labels that are probably wrong."""

import io
import tracemalloc
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from distillhub.lib.errors import Invalid
from projects.ingest import confident, issues, near, statistics
from projects.ingest.checks import label_errors, personal, plain_pictures, registry, unusual
from projects.models import DatasetVersion, Project, User
from projects.services import suspicions, version_rows
from tests.conftest import api_of, signed_in
from tests.projects.test_dataset_versions import file_of, issues_of, table_of, uploaded
from tests.projects.test_ingest_images import archive
from tests.projects.test_operations import change, latest

WORDS = str.split("the card is lost and money gone please help me with a new one today or later")


def sentences(rng: np.random.Generator, many: int, words: int = 14) -> list[str]:
    return [" ".join(rng.choice(WORDS, words)) for _ in range(many)]


def issue_of(version: DatasetVersion, code: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in version.issues if one["code"] == code)
    return found


def pairs_of(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return set(pairwise(words)) or {tuple(words)}


def grouped(texts: list[str]) -> np.ndarray[Any, Any]:
    nearness = near.Texts()
    for text in texts:
        nearness.add(text)
    found = nearness.groups(np.unique(texts, return_inverse=True)[1])
    nearness.close()
    return found


@pytest.mark.parametrize("key", registry.checks())
def test_every_issue_of_a_check_has_a_severity_and_a_sentence_that_ends(key: str) -> None:
    for code, (severity, sentence) in registry.checks()[key].kinds.items():
        assert issues.KINDS[code] == (severity, sentence)
        assert severity in {"error", "warning", "info"}
        assert sentence.endswith(".")


def test_near_texts_are_those_that_comparing_all_pairs_finds() -> None:
    rng = np.random.default_rng(1)
    texts = sentences(rng, 150)
    texts += [text + " now" for text in texts[:40]] + [f"so {text} now" for text in texts[:40]]
    groups = grouped(texts)
    expected = list(range(len(texts)))
    for a, b in combinations(range(len(texts)), 2):
        one, two = pairs_of(texts[a]), pairs_of(texts[b])
        if len(one & two) >= near.NEAR * len(one | two):
            low, high = sorted((expected[a], expected[b]))
            expected = [low if root == high else root for root in expected]
    assert groups.tolist() == expected
    assert len(set(expected)) < len(texts) - 60


def test_texts_that_differ_in_signs_alone_are_near_and_texts_without_words_are_not() -> None:
    groups = grouped(["Hello there, you", "hello there you!", "hello", "Hello!", "!!!", "???", ""])
    assert groups.tolist() == [0, 0, 2, 2, 4, 5, 6]
    chinese = "我的银行卡在哪里我已经等了两个星期了请尽快回复我谢谢"
    assert grouped([chinese, chinese + "您", chinese[::-1]]).tolist() == [0, 0, 2]


def test_batches_do_not_change_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = sentences(np.random.default_rng(2), 60)
    texts += [text + " now" for text in texts]
    whole = grouped(texts).tolist()
    monkeypatch.setattr(near, "BATCH_WORDS", 50)
    monkeypatch.setattr(near, "BATCH_PAIRS", 3)
    assert grouped(texts).tolist() == whole


def photo(seed: int, size: int = 64) -> Image.Image:
    rough = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((size, size), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **how)
    return out.getvalue()


def test_a_picture_stored_worse_or_in_another_size_is_near_and_another_is_not() -> None:
    pictures = [encoded(photo(seed)) for seed in range(8)]
    pictures += [encoded(photo(0), "JPEG", quality=40), encoded(photo(1).resize((48, 48)))]
    nearness = near.Pictures()
    for one in pictures:
        nearness.add(one)
    assert nearness.groups(np.arange(10)).tolist() == [*range(8), 0, 1]
    nearness.close()


def test_near_rows_are_counted_between_splits_and_between_labels(
    project: Project, erin: User
) -> None:
    rng = np.random.default_rng(3)
    lines = [(text, "a", "train") for text in sentences(rng, 60)]
    lines += [(f"{text} now", "a", "test") for text, _, _ in lines[:5]]
    lines += [(f"{text} now", "b", "train") for text, _, _ in lines[10:13]]
    table = "text,label,split\n" + "".join(f"{','.join(line)}\n" for line in lines)
    version = uploaded(project, table.encode())
    found = issues_of(version)
    assert (found["similar_input"], found["similar_leak"], found["similar_conflict"]) == (8, 5, 6)
    assert issue_of(version, "similar_leak")["rows"] == [60, 61, 62, 63, 64]
    assert "leak" not in found
    assert version.statistics["near"]["groups"] == 8
    client = api_of(erin)
    change(client, operation="deduplicate", near=True, within="leaks")
    assert "similar_leak" not in issues_of(latest())
    assert latest().splits["test"]["rows"] == 5
    change(client, operation="deduplicate", near=True, version=1)
    assert latest().rows == 60
    assert not {"similar_input", "similar_conflict"} & issues_of(latest()).keys()


def test_splits_made_here_keep_near_texts_together(project: Project) -> None:
    texts = sentences(np.random.default_rng(4), 100)
    lines = [f"{text}{end},{'ab'[n % 2]}" for n, text in enumerate(texts) for end in ("", " now")]
    version = uploaded(project, ("text,label\n" + "\n".join(lines)).encode())
    assert issues_of(version)["similar_input"] >= 100
    assert "similar_leak" not in issues_of(version)
    assert version.splits["test"]["rows"] == pytest.approx(20, abs=2)


def test_texts_of_one_template_are_divided_all_the_same(project: Project) -> None:
    long = "please look at this long and quite repetitive message that has number"
    lines = [f"{long} {n},{'ab'[n % 2]}" for n in range(100)]
    version = uploaded(project, ("text,label\n" + "\n".join(lines)).encode())
    assert version.splits["test"]["rows"] == 10
    assert issues_of(version)["similar_leak"] == 20


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("write to ada.lovelace+x@mail.example.org today", {"email_address"}),
        ("meet @ada at 10@home, a@b", set()),
        ("call +44 20 7946 0958 or 0044 20 79460958", {"phone_number"}),
        ("call 020 7946 0958", {"phone_number"}),
        ("call (212) 555-0142 now", {"phone_number"}),
        ("on 2024-05-13, at 13.05.2024, order 12345678, 3.14159265, 10 000 000", set()),
        ("DE89 3704 0044 0532 0130 00", {"bank_account"}),
        ("GB82WEST12345698765432 is mine", {"bank_account"}),
        ("DE88 3704 0044 0532 0130 00", set()),
        ("card 4111 1111 1111 1111", {"card_number"}),
        ("card 5500-0000-0000-0004", {"card_number"}),
        ("card 4111 1111 1111 1112", set()),
        ("from 192.168.17.4 and", {"ip_address"}),
        ("version 1.2.3.4.5, 300.1.1.1, 12:30:45", set()),
        ("at 2001:db8::8a2e:370:7334", {"ip_address"}),
        ("std::string and a::b", set()),
    ],
)
def test_what_names_a_person_is_told_from_what_looks_like_it(text: str, codes: set[str]) -> None:
    assert set(personal.kinds_in(text)) == codes


@pytest.mark.parametrize("sign", ["a", "1", "@", "1 ", "A1", "GB82", ".", "a@", "1:", "+", "(1"])
def test_looking_for_personal_data_is_done_in_linear_time(sign: str) -> None:
    personal.kinds_in(sign * 30_000)  # what takes quadratic time would take minutes


def test_found_personal_data_is_not_repeated(project: Project) -> None:
    lines = [f"words number {n},a" for n in range(20)] + ["I am eve@mail.example.org,b"]
    version = uploaded(project, ("text,label\n" + "\n".join(lines)).encode())
    assert issue_of(version, "email_address")["rows"] == [20]
    assert "eve@" not in str(version.issues) + str(version.statistics)


def test_rows_in_another_language_are_found(project: Project) -> None:
    english = [
        f"This is a perfectly normal English sentence about the weather, {n}" for n in range(40)
    ]
    german = ["Das ist ein ganz gewöhnlicher deutscher Satz über das schöne Wetter"]
    lines = [f'"{text}",{"ab"[n % 2]}' for n, text in enumerate(english + german)]
    version = uploaded(project, ("text,label\n" + "\n".join(lines)).encode())
    assert issue_of(version, "other_language")["rows"] == [40]
    assert issue_of(version, "other_language")["places"] == ["de: 1 rows"]
    assert version.statistics["languages"]["counts"] == {"en": 40, "de": 1}


def test_lengths_and_numbers_far_out_are_found() -> None:
    rng = np.random.default_rng(5)
    lengths = np.log1p(rng.integers(20, 200, 500))
    assert not unusual.far_out(lengths).any()
    assert np.flatnonzero(unusual.far_out(np.append(lengths, np.log1p(2_000_000)))).tolist() == [
        500
    ]
    assert not unusual.far_out(np.append(np.full(100, 5.0), 50.0)).any()  # nothing varies
    numbers = np.append(rng.normal(0, 1, 500), [np.nan, 9.9, -9.9])
    assert np.flatnonzero(unusual.fenced_out(numbers)).tolist() == [501, 502]


def test_a_tables_far_numbers_and_empty_columns_are_named(project: Project) -> None:
    lines = [f"{n % 9 + 0.5},{n % 7},,{'ab'[n % 2]}" for n in range(99)] + ["4000,3,,a"]
    columns = {"label": "label", "features": dict.fromkeys("xyz", "numeric")}
    version = uploaded(project, ("x,y,z,label\n" + "\n".join(lines)).encode(), columns=columns)
    assert issue_of(version, "unusual_number")["rows"] == [99]
    assert issue_of(version, "unusual_number")["places"] == ["x: 1 rows"]
    assert issue_of(version, "empty_column")["places"] == ["z"]


def test_plain_pictures_are_found_and_shapes_counted(project: Project) -> None:
    files = {f"{'ab'[n % 2]}/{n}.png": encoded(photo(n)) for n in range(10)}
    files["a/plain.png"] = encoded(Image.new("RGB", (64, 48), (12, 200, 30)))
    version = uploaded(project, archive(*files.items()).getvalue(), name="photos")
    assert issues_of(version)["plain_picture"] == 1
    assert version.statistics["shapes"] == {"1:1": 10, "4:3": 1}
    assert statistics.shape(1080, 1920) == "9:16"
    assert statistics.shape(1000, 100) == "other, wide"
    dot = Image.new("L", (64, 64))
    dot.putpixel((3, 3), 255)
    assert not plain_pictures.is_plain(encoded(dot))


def test_unbalanced_labels_are_told_with_figures(project: Project) -> None:
    lines = [f"words number {n},{'rare' if n < 10 else 'common'}" for n in range(200)]
    version = uploaded(project, ("text,label\n" + "\n".join(lines)).encode())
    assert issues_of(version)["unbalanced_labels"] == 1
    told = version.statistics["balance"]
    assert told["ratio"] == 19.0
    assert told["effective"] == pytest.approx(
        np.exp(-0.05 * np.log(0.05) - 0.95 * np.log(0.95)), abs=0.01
    )
    assert (told["commonest"], told["rarest"]) == (["common", 152], ["rare", 8])


def test_the_confident_joint_is_that_of_the_papers_rule() -> None:
    """Thresholds .8 and .7 by hand; the third row is off the diagonal, the last one not surely."""
    probabilities = np.array(
        [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9], [0.4, 0.6]]
    )
    given = np.array([0, 0, 0, 1, 1, 0])
    places, better = confident.suspected(probabilities, given)
    assert (places.tolist(), better.tolist()) == ([2], [1])


def test_the_quick_regression_agrees_with_scikit_learns() -> None:
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    pixels, digits = load_digits(return_X_y=True)
    values = confident.of_numbers(pixels)
    weights = confident.logistic(values[:1200], digits[:1200], 10, lambda: None)
    ours = (values[1200:] @ weights).argmax(axis=1)
    theirs = (
        LogisticRegression(max_iter=300).fit(values[:1200], digits[:1200]).predict(values[1200:])
    )
    assert (ours == digits[1200:]).mean() >= (theirs == digits[1200:]).mean() - 0.02
    assert (ours == theirs).mean() > 0.95


def test_wrong_labels_are_suspected_and_taken_over(project: Project, erin: User) -> None:
    rng = np.random.default_rng(6)
    topics = {
        "card": str.split("card lost stolen freeze block pin plastic replace"),
        "rate": str.split("exchange rate currency euro dollar convert market percent"),
        "login": str.split("password login account forgot reset email locked access"),
    }
    lines = []
    for n in range(300):
        topic = list(topics)[n % 3]
        words = [*rng.choice(topics[topic], 6, replace=False), *rng.choice(WORDS, 6)]
        lines.append([" ".join(words), topic])
    wrong = [30, 60, 91, 152, 233]
    for row in wrong:
        lines[row][1] = next(one for one in topics if one != lines[row][1])
    table = "text,label\n" + "".join(f"{text},{label}\n" for text, label in lines)
    version = uploaded(project, table.encode())
    assert version.statistics["label_errors"]["usable"]
    assert issue_of(version, "suspected_label")["rows"] == wrong
    assert "right for" in issue_of(version, "suspected_label")["places"][0]
    change(api_of(erin), operation="suggested_labels")
    assert table_of(latest())["label"].to_pylist() == [list(topics)[n % 3] for n in range(300)]


def test_nothing_is_suspected_where_the_quick_model_learns_nothing(project: Project) -> None:
    rng = np.random.default_rng(7)
    lines = [f"{text},{rng.choice(['a', 'b', 'c'])}" for text in sentences(rng, 200)]
    version = uploaded(project, ("text,label\n" + "\n".join(lines)).encode())
    assert not version.statistics["label_errors"]["usable"]
    assert "suspected_label" not in issues_of(version)


def test_all_rows_of_an_issue_are_found_by_it_and_a_hundred_are_named(
    project: Project, erin: User
) -> None:
    lines = [f"words number {n % 50},{'ab'[n % 2]}" for n in range(450)]
    version = uploaded(project, ("text,label\n" + "\n".join(lines)).encode())
    assert issue_of(version, "duplicate")["count"] == 400
    assert len(issue_of(version, "duplicate")["rows"]) == issues.LISTED
    again = DatasetVersion.objects.get(pk=version.pk)
    assert "issue_rows" in again.get_deferred_fields()
    assert version_rows.rows_and_total(version=again, issue="duplicate")[1] == 400
    change(api_of(erin), operation="filter", issue="duplicate", leave_out=True)
    assert latest().rows == 50


def test_a_sounds_spectrogram_has_one_shape_however_long_it_is() -> None:
    import soundfile

    shapes = set()
    for samples in (1, 400, 8000, 100_000):
        out = io.BytesIO()
        noise = np.random.default_rng(8).normal(0, 0.1, samples)
        soundfile.write(out, noise, 8000, format="WAV")
        shapes.add(label_errors.spectrogram(out.getvalue()).shape)
    assert len(shapes) == 1


def test_probabilities_of_a_run_say_which_labels_are_suspected(project: Project) -> None:
    lines = [f"words number {n},{'ab'[n % 2]}" for n in range(40)] + ["words without,"]
    version = uploaded(project, ("text,label\n" + "\n".join(lines)).encode())
    probabilities = np.array([[0.9, 0.1] if n % 2 == 0 else [0.2, 0.8] for n in range(41)])
    probabilities[4], probabilities[7] = [0.05, 0.95], [0.97, 0.03]
    rows = np.arange(41)
    asked: dict[str, Any] = {
        "version": version, "row_ids": rows, "probabilities": probabilities,
    }  # fmt: skip
    assert suspicions.suspected(**asked) == {4: "b", 7: "a"}
    with pytest.raises(Invalid, match="no such row"):
        suspicions.suspected(**asked | {"row_ids": rows + 1})
    with pytest.raises(Invalid, match="each label"):
        suspicions.suspected(**asked | {"probabilities": probabilities[:, :1]})


def test_pages_show_what_a_row_is_like_and_which_label_it_should_have(
    erin: User, project: Project
) -> None:
    rng = np.random.default_rng(9)
    texts = sentences(rng, 40)
    lines = [f"{text},{'ac'[n % 2]},train" for n, text in enumerate(texts)]
    lines += [f"{text} now,b,test" for text in texts[:3]]
    version = uploaded(project, ("text,label,split\n" + "\n".join(lines)).encode())
    client = signed_in(erin)
    address = f"/p/{project.slug}/datasets/words/{version.number}/"
    issues_page = client.get(f"{address}?tab=issues").content.decode()
    assert "like 0 " in issues_page
    assert "Leave near duplicates out" in issues_page
    statistics_page = client.get(f"{address}?tab=statistics").content.decode()
    assert "Effective labels" in statistics_page
    assert "Near duplicates" in statistics_page


@pytest.mark.slow
def test_what_is_known_of_real_data_is_found(project: Project, shared_data: Path) -> None:
    spam = uploaded(project, shared_data / "sms_spam" / "spam.csv", name="spam")
    assert issues_of(spam)["unbalanced_labels"] == 1
    assert issues_of(spam)["phone_number"] > 200
    assert spam.statistics["label_errors"]["accuracy"] > 0.95
    banking = shared_data / "banking77"
    bank = uploaded(
        project, banking / "train.csv", name="bank", test_file=file_of(banking / "test.csv")
    )
    assert issues_of(bank)["leak"] == 6
    assert issues_of(bank)["similar_leak"] > 50
    tiles = shared_data / "magnetic_tile" / "magnetic_tile_96x96_DERIVED.zip"
    assert issues_of(uploaded(project, tiles, name="tiles"))["unbalanced_labels"] == 1
    digits = uploaded(project, shared_data / "fsdd" / "fsdd_small.zip", name="spoken")
    assert digits.statistics["label_errors"]["accuracy"] > 0.7


def test_long_texts_are_compared_a_few_at_a_time_and_too_many_words_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def groups() -> tuple[list[int], bool]:
        texts = near.Texts()
        for n in range(40):
            texts.add(" ".join(f"word{n // 2}of{k}" for k in range(30)))
        found = texts.groups(np.arange(40)).tolist()
        texts.close()
        return found, texts.is_complete

    whole = groups()
    assert whole == ([n // 2 * 2 for n in range(40)], True)
    monkeypatch.setattr(near, "BATCH_COMPARED", 100)
    assert groups() == whole
    monkeypatch.setattr(near, "MOST_IN_ALL", 300)
    found, complete = groups()
    assert not complete
    assert found[:10] == whole[0][:10]
    assert found[12:] == list(range(12, 40))


def test_rows_that_are_near_none_cost_few_bytes_each_while_they_are_compared() -> None:
    """Of two million rows 50 bytes are 100 MB, beside what the process itself takes."""
    rows = 100_000
    texts = near.Texts()
    for place in range(rows):
        texts.add(f"w{place} x{place}")
    keys = np.arange(rows)
    tracemalloc.start()
    groups = texts.groups(keys)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    texts.close()
    assert len(np.unique(groups)) == rows
    assert peak < 90 * rows
