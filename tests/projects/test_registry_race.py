from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from projects.models import ModelVersion, Project, User
from projects.services import registry

pytestmark = pytest.mark.django_db(transaction=True)

SOURCE = {"kind": "architecture", "architecture": "mlp", "config": {}}


def test_versions_added_at_the_same_moment_get_numbers_of_their_own(
    project: Project, alice: User
) -> None:
    model = registry.register(
        project=project, name="m", role="student", task="image-classification", source=SOURCE,
        by=alice,
    ).model  # fmt: skip

    def add(_: int) -> int:
        try:
            return registry.add_version(model=model, source=SOURCE, by=alice).number
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        numbers = sorted(threads.map(add, range(24)))
    assert numbers == list(range(2, 26))
    assert ModelVersion.objects.filter(model=model).count() == 25
