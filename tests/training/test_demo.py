"""The images of the demo: those that are uploaded, and those that its student meets in use."""

import io
import zipfile
from collections.abc import Iterable
from itertools import islice

import numpy as np
import pytest
from django.test import Client
from PIL import Image

from projects.models import AuditEntry, Project, User
from tests.conftest import signed_in
from tests.training import monitor_rows
from training.demo import images, traffic
from training.demo import project as project_of_demo
from training.demo.images import Shot


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image, dtype=float)


def test_no_image_of_the_traffic_is_in_the_dataset() -> None:
    with zipfile.ZipFile(io.BytesIO(images.archive())) as zipped:
        names = zipped.namelist()
        uploaded = {zipped.read(name) for name in names}
    assert len(names) == 10 * images.ASIDE
    assert sum(name.startswith("test/") for name in names) == 10 * images.TEST
    traffic = list(images.clear(0))
    assert len({one.name for one in traffic}) == len(traffic) == 1797 - len(names)
    assert not uploaded & {one.png for one in traffic}


def test_a_dark_image_is_the_same_digit_with_less_light_and_a_pixel_to_the_right() -> None:
    digit = next(one for one in images.digits() if one.place == images.ASIDE)
    half = digit.place % 2
    shot = next(
        one for one in images.dark(half, 0) if one.name.startswith(f"dark-{digit.number:04}")
    )
    whole, dark = pixels(images.png(images.picture(digit))), pixels(shot.png)
    assert shot.label == str(digit.label)
    assert (dark[:, 0] == 0).all()
    light = dark[:, 1:].sum() / whole[:, :-1].sum()
    assert images.DARKEST - 0.05 < light < images.BRIGHTEST + 0.05


def test_a_second_turn_shows_the_same_digits_in_another_light() -> None:
    many = len(images._half(0))
    first, *_, again = islice(images.dark(0, 0), many + 1)
    assert (first.name[-2:], again.name[-2:]) == ("-0", "-1")
    assert first.name[:-2] == again.name[:-2]
    assert first.png != again.png


def test_the_next_student_meets_other_digits_than_it_learnt_from() -> None:
    learnt, met = ({one.number for one in images._half(half)} for half in (1, 0))
    assert not learnt & met
    assert min(len(learnt), len(met)) > 200


def test_traffic_goes_on_where_it_was() -> None:
    def names(shots: Iterable[Shot], many: int) -> list[str]:
        return [one.name for one in islice(shots, many)]

    assert len(names(images.clear(0), 1000)) == images.clear_rows()
    assert names(images.clear(0), 50)[30:] == names(images.clear(30), 20)
    assert names(images.dark(1, 0), 500)[450:] == names(images.dark(1, 450), 50)
    assert len(set(names(images.dark(1, 0), 500))) == 500


def test_what_it_makes_is_recorded_once_by_command_and_in_nobodys_name(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_of_demo, "PATIENCE", 0.0)
    for _ in range(2):  # interrupted, and completed
        with pytest.raises(project_of_demo.Unready):
            project_of_demo.seed(by=alice)
    entries = AuditEntry.objects.order_by("number")
    assert {(one.via, one.actor_id, one.project) for one in entries} == {
        ("command", None, project_of_demo.SLUG)
    }
    acts = [(one.action, one.subject) for one in entries]
    assert acts == [
        ("project.create", project_of_demo.NAME),
        ("dataset.create", "digits"),
        ("model.create", "convnet"),
        ("model.create", "pocket-convnet"),
    ]


@pytest.mark.django_db
def test_its_monitor_says_that_it_is_a_replay(project: Project, alice: User) -> None:
    monitor = monitor_rows.fitted(project, notes=traffic.NOTES)
    client: Client = signed_in(alice)
    page = client.get(f"/p/{project.slug}/monitors/{monitor.name}/").content.decode()
    assert "A replay of real images that no run has seen" in page
