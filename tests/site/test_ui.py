"""What the look is made of: kept files, icons, templates without scripts, and how numbers read."""

import gzip
import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from distillhub.templatetags import ui
from projects.models import Project, User
from tests import make
from tests.conftest import signed_in

ROOT = Path(__file__).resolve().parent.parent.parent
STATIC = ROOT / "static"
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
HEAVIEST = 1_600_000  # bytes of a first load, as they are sent


def test_every_kept_file_is_the_one_that_was_written_down() -> None:
    rows = re.findall(
        r"^\| (\S+) \|.*`([0-9a-f]{64})` \|$", (STATIC / "vendor/README.md").read_text(), re.M
    )
    kept = {path.name for path in (STATIC / "vendor").iterdir()} - {"README.md"}
    assert {name for name, _ in rows} == kept
    for name, sha256 in rows:
        assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == sha256, name


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_holds_no_script_of_its_own_and_asks_no_other_host(path: Path) -> None:
    text = path.read_text()
    for tag in re.findall(r"<script\b[^>]*>", text):
        assert "src=" in tag or 'type="application/json"' in tag, tag
    assert "<style" not in text
    assert not re.search(r"<[^>]*\son[a-z]+\s*=\s*[\"']", text)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", text)
    assert "hx-on" not in text
    assert "|safe" not in text


def test_every_icon_of_a_template_is_in_the_sprite() -> None:
    known = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "icons.svg").read_text()))
    for path in TEMPLATES:
        text = path.read_text()
        used = set(re.findall(r"{% icon [\"']([\w-]+)[\"']", text))
        used |= set(re.findall(r"\bicon(?:_name)?=[\"']([\w-]+)[\"']", text))
        assert used <= known, path


def test_the_patterns_page_shows_every_component(vera: User) -> None:
    shown = signed_in(vera).get(reverse("training:patterns")).content.decode()
    for path in (ROOT / "templates/components").glob("*.html"):
        assert path.name in shown, path.name


def test_the_heaviest_page_is_light_enough(vera: User, project: Project) -> None:
    run = make.distillation(project)
    client = signed_in(vera)
    url = reverse("training:run_detail", args=[project.slug, run.number])
    page = client.get(url).content
    asked = set(re.findall(r'(?:src|href)="/static/([^"#]+)', page.decode()))
    assert any("plotly" in name for name in asked)
    sent = len(page) + sum(
        len(gzip.compress((STATIC / name).read_bytes(), 6)) for name in asked | {"icons.svg"}
    )
    assert sent < HEAVIEST


def test_plotly_is_loaded_only_where_there_are_charts(vera: User, project: Project) -> None:
    for name in ("training:run_list", "training:project_overview"):
        page = signed_in(vera).get(reverse(name, args=[project.slug])).content.decode()
        assert "plotly" not in page


def test_the_current_section_and_page_are_marked(vera: User, project: Project) -> None:
    page = signed_in(vera).get(reverse("training:run_list", args=[project.slug])).content.decode()
    assert re.search(r'aria-current="page" data-go="r"', page)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        ("", "–"),
        (0, "0 s"),
        (0.012, "12 ms"),
        (8.44, "8.4 s"),
        (59.6, "1 m 00 s"),
        (130, "2 m 10 s"),
        (3 * 3600 + 300, "3 h 05 m"),
        (90_000, "1 d 1 h"),
        (timedelta(seconds=42), "42 s"),
        (float("nan"), "–"),
    ],
)
def test_durations(value: Any, shown: str) -> None:
    assert ui.duration(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (100_532, "101 kB"), (25_100_000, "25.1 MB")],
)
def test_sizes(value: Any, shown: str) -> None:
    assert ui.filesize(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0, "0"), (999, "999"), (24_397, "24.4k"), (2.5e6, "2.5M")]
)
def test_counts(value: Any, shown: str) -> None:
    assert ui.compact(value) == shown


def test_what_is_below_all_never_reads_as_all() -> None:
    assert ui.percent(0.99999) == "99.9 %"
    assert ui.percent(1) == "100.0 %"
    assert ui.progress_percent(0.999) == "99"
    assert ui.progress_percent(1.0) == "100"


@pytest.mark.parametrize(
    ("value", "name", "shown"),
    [
        (0.88341, "val/accuracy", "88.3 %"),
        (0.88341, "agreement", "88.3 %"),
        ("NaN", "val/accuracy", "NaN"),
        (0.88341, "val/spearman", "0.8834"),
        (5e-4, "train/learning_rate", "5.00e-4"),
        (5213.4, "train/samples_per_second", "5.21k"),
        ("NaN", "train/loss", "NaN"),
        (None, "train/loss", "–"),
        (123.456, "train/loss", "123.46"),
    ],
)
def test_measurements(value: Any, name: str, shown: str) -> None:
    assert ui.metric(value, name) == shown


def test_differences_carry_their_sign() -> None:
    assert ui.signed(0.029) == "+2.9"
    assert ui.signed(-0.012) == "−1.2"


@pytest.mark.parametrize(
    ("value", "shown"), [(4.0, "4"), (5e-4, "0.0005"), (True, "yes"), (None, "–"), ([], "–")]
)
def test_settings(value: Any, shown: str) -> None:
    assert ui.setting(value) == shown


def test_a_moment_says_how_long_ago_and_exactly_when() -> None:
    shown = ui.ago(timezone.now() - timedelta(hours=3, minutes=20))
    assert ">3 h ago<" in shown
    assert "UTC" in shown
    assert ui.ago(None) == "–"


def test_bars_and_counts() -> None:
    assert ui.share(0.93164) == "93.16"
    assert ui.share(None) == "0.00"
    assert ui.grouped(13083) == "13\u202f083"


def test_a_negative_number_has_the_sign_that_a_positive_one_would() -> None:
    assert [ui.metric(-0.25), ui.percent(-0.031), ui.signed(-0.012)] == [
        "−0.2500",
        "−3.1 %",
        "−1.2",
    ]


def test_an_interval_of_shares_is_two_ends_and_nothing_where_there_is_none() -> None:
    assert ui.span([0.932, 0.971]) == "93.2 to 97.1 %"
    assert [ui.span(one) for one in (None, "", [0.1], ["NaN", 1.0])] == ["", "", "", ""]


def test_a_metric_says_what_it_is_of() -> None:
    assert ui.measured("val/ece") == "calibration error, validation"
    assert ui.measured("accuracy") == "accuracy"


def test_a_long_text_is_cut_after_a_word_and_within_six_lines() -> None:
    assert ui.beginning("short") == "short"
    assert ui.beginning("well " * 100, 12) == "well well"
    assert ui.beginning("\n".join("abcdefgh")) == "\n".join("abcdef")
    assert len(ui.beginning("x" * 500)) == 160


def test_a_value_for_a_script_is_json_in_which_nothing_is_markup() -> None:
    told = ui.as_json({"a": "</template><script>&amp;", "b": [1.5, None]})
    assert not set(str(told)) & set("<>&")
    assert json.loads(str(told)) == {"a": "</template><script>&amp;", "b": [1.5, None]}
