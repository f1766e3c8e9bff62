"""Consoles: printed lines become rows once and in order, bounded, harmless, and found again."""

from pathlib import Path
from typing import Any

import pytest

from projects.models import Project, User
from tests import make
from tests.conftest import api_of
from training.models import LogChunk, Run, RunConsole
from training.services import logs as reading
from training.worker import claims, console, logs
from training.worker.console import Console
from training.worker.logs import HEAD, LINES, TAIL, Line

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def printed(tmp_path: Path, held: claims.Held) -> Path:
    file = console.file_of(tmp_path, held.attempt)
    file.touch()
    return file


def say(file: Path, text: str) -> None:
    with file.open("a") as out:
        out.write(text)


def texts(run: Run, **asked: Any) -> list[str]:
    return [line["text"] for line in reading.read(run=run, **asked)["lines"]]


# -- harmless --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hcleared", "cleared"),
        ("\x1b]0;a title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP1$r\x1b\\device", "device"),
        ("\x9b31mC1", "C1"),
        ("\x1b(Bcharset", "charset"),
        ("bell\x07 back\x08space \x7f", "bell backspace "),
        ("nul\x00", "nul�"),
        ("right\u202eleft\u2066x", "rightleftx"),
        ("half \ud800", "half ?"),
        ("a\ttab stays", "a\ttab stays"),
        ("naïve 漢字 🙂", "naïve 漢字 🙂"),
        ("\x1b[", ""),
        ("<b>&amp;", "<b>&amp;"),
    ],
)
def test_a_line_commands_no_terminal_and_hides_nothing(text: str, shown: str) -> None:
    assert logs.harmless(text) == shown


def test_a_long_line_is_cut_and_takes_no_long() -> None:
    assert len(logs.harmless("x" * 1_000_000)) == logs.LONGEST
    logs.harmless("\x1b]" * 500_000)
    logs.harmless("\x1b[" * 500_000)


@pytest.mark.parametrize(
    ("text", "seen"),
    [("10 %\r50 %\r100 %", "100 %"), ("windows\r", "windows"), ("\r", ""), ("plain", "plain")],
)
def test_a_progress_bar_is_as_a_terminal_shows_it(text: str, seen: str) -> None:
    assert console.as_seen(text) == seen


# -- each line once --------------------------------------------------------------------------------


def test_whole_lines_are_stored_as_they_come(printed: Path, held: claims.Held) -> None:
    said = Console(held, printed)
    say(printed, "one\ntwo\nthr")
    said.write()
    assert texts(held.run) == ["one", "two"]
    say(printed, "ee\n\nlast without an end")
    said.write()
    said.write()
    assert texts(held.run) == ["one", "two", "three", ""]
    said.write(is_over=True)
    said.write(is_over=True)
    assert texts(held.run)[4:] == ["last without an end"]
    assert {line["level"] for line in reading.read(run=held.run)["lines"]} == {"output"}


def test_a_worker_that_takes_over_reads_on_where_the_last_one_stopped(
    printed: Path, held: claims.Held, tmp_path: Path
) -> None:
    said = Console(held, printed)
    said.begin("Attempt 1, on here")
    say(printed, "seen\n")
    said.write()
    say(printed, "unseen\nends amid")  # then its worker dies
    run = held.run
    Run.objects.update(attempt=2)
    run.refresh_from_db()
    later = claims.Held(run, 2)
    console.catch_up(later, tmp_path)
    console.catch_up(later, tmp_path)
    again = Console(later, console.file_of(tmp_path, 2))
    again.begin("Attempt 2, on there")
    say(again.file, "anew\n")
    again.write()
    assert texts(run) == [
        "Attempt 1, on here", "seen", "unseen", "ends amid", "Attempt 2, on there", "anew",
    ]  # fmt: skip
    assert texts(run, attempt=2)[-2:] == ["Attempt 2, on there", "anew"]
    assert "seen" in texts(run, attempt=1)
    assert RunConsole.objects.get().attempt == 2


def test_a_stale_attempt_stores_no_line(printed: Path, held: claims.Held) -> None:
    say(printed, "late\n")
    Run.objects.update(attempt=5)
    with pytest.raises(claims.Fenced):
        Console(held, printed).write()
    assert not LogChunk.objects.exists()


def test_a_bar_without_an_end_of_line_is_shown_now_and_then(
    printed: Path, held: claims.Held
) -> None:
    said = Console(held, printed)
    say(printed, "".join(f"\r{n} of 5000" for n in range(2500)))
    said.write()
    assert texts(held.run) == ["2499 of 5000"]


# -- bounded ---------------------------------------------------------------------------------------


def test_who_prints_faster_than_lines_are_stored_loses_what_is_between(
    printed: Path, held: claims.Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "MOST_BEHIND", 4000)
    monkeypatch.setattr(console, "MOST_AT_ONCE", 1000)
    monkeypatch.setattr(console, "MOST_IN_FILE", 5000)
    said = Console(held, printed)
    say(printed, "".join(f"line {n:5}\n" for n in range(1000)))
    said.write()
    lines = texts(held.run)
    assert lines[0].startswith("… 10,000 bytes are not kept")
    assert lines[-1] == "line   999"
    assert printed.stat().st_size == 0  # its disk is free again
    say(printed, "goes on\n")
    said.write()
    assert texts(held.run)[-1] == "goes on"


def test_of_a_long_console_the_head_and_the_tail_are_kept(project: Project) -> None:
    run = make.run(project)
    total = (HEAD + TAIL + 40) * LINES
    for begin in range(0, total, 10_000):
        logs.append(run, [Line(0.0, "info", f"{n}") for n in range(begin + 1, begin + 10_001)])
    assert LogChunk.objects.filter(run=run).count() <= HEAD + TAIL
    assert texts(run, limit=3) == ["1", "2", "3"]
    gap = reading.read(run=run, after=HEAD * LINES, limit=2)
    assert gap["lines"][0]["level"] == "cut"
    assert gap["lines"][0]["text"].startswith(f"… {40 * LINES:,} lines are no longer kept")
    assert gap["lines"][1]["text"] == str((HEAD + 40) * LINES + 1)
    assert gap["lines"][1]["n"] == (HEAD + 40) * LINES + 1  # numbers stay
    assert reading.last(run=run, count=1)["lines"][0]["text"] == str(total)
    whole = "".join(reading.as_text(run=run))
    assert whole.count("\n") == (HEAD + TAIL) * LINES + 1
    assert "lines are no longer kept" in whole
    assert reading.total(run=run) == total


def test_long_lines_close_a_chunk_early(project: Project) -> None:
    run = make.run(project)
    logs.append(run, [Line(0.0, "info", "x" * 5000) for _ in range(100)])
    chunks = list(LogChunk.objects.filter(run=run))
    assert sum(chunk.count for chunk in chunks) == 100
    assert max(chunk.count for chunk in chunks) <= 18
    numbers = [line["n"] for chunk in chunks for line in chunk.lines]
    assert numbers == list(range(1, 101))


# -- found again -----------------------------------------------------------------------------------


@pytest.fixture
def long(project: Project) -> Run:
    run = make.run(project)
    logs.append(run, [Line(float(n), "info", f"Step {n}: 50 % (ünïcode)") for n in range(1, 3001)])
    return run


def test_words_are_found_whatever_their_case_and_never_as_a_pattern(long: Run) -> None:
    assert texts(long, q="STEP 2999:") == ["Step 2999: 50 % (ünïcode)"]
    assert texts(long, q="ÜNÏ", limit=2) == ["Step 1: 50 % (ünïcode)", "Step 2: 50 % (ünïcode)"]
    assert texts(long, q=".*") == []
    assert texts(long, q="%_") == []


def test_a_search_goes_on_from_its_cursor_and_ends_in_time(
    long: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reading.read(run=long, q="step 2", limit=100)
    assert first["more"]
    rest = reading.read(run=long, q="step 2", after=first["cursor"], limit=5000)
    assert not rest["more"]
    assert len(first["lines"] + rest["lines"]) == 1111
    monkeypatch.setattr(reading, "LONGEST_SEARCH", -1.0)
    hurried = reading.read(run=long, q="step")
    assert (hurried["lines"], hurried["cursor"], hurried["more"]) == ([], 0, True)


def test_rest_searches_and_refuses_what_it_does_not_know(long: Run, vera: User) -> None:
    address = f"/api/v1/projects/{long.project.slug}/runs/{long.number}/logs/"
    client = api_of(vera)
    told = client.get(address, {"q": "step 2999"}).json()
    assert [line["n"] for line in told["lines"]] == [2999]
    assert told["cursor"] == 3000
    for bad in ({"q": "x" * 201}, {"attempt": 0}, {"regex": "a"}, {"after": -1}):
        assert client.get(address, bad).status_code == 400
