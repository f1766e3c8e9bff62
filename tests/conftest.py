"""People and projects that most tests need. Alice owns, Erin edits, Vera views, Charlie is a
stranger and must see nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright runs an event loop
# Exact numbers are a CPU's; tests/gpu runs where somebody names a GPU.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest
from _pytest.nodeid import NodeId
from django.conf import LazySettings
from django.contrib.contenttypes.management import create_contenttypes
from django.db import connection
from django.db.models.signals import post_migrate
from django.test import Client
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from projects.models import Project, User
from projects.services import audit_guard
from tests import make
from tests.site import servers

#: Modules that train, serve or start whole clients: what a database does in them is tried by all
#: others, too.
TRAINING = frozenset(
    {
        *("test_derived", "test_execute", "test_execute_schemes", "test_execute_shapes"),
        *("test_exports_made", "test_gates", "test_generation_runs", "test_recipes"),
        *("test_whole_ways", "test_monitor_tasks", "test_monitor_tags", "test_monitor_written"),
        *("test_serving", "test_generate_local", "test_annotate", "test_recorded_teachers"),
        *("test_stalls", "test_maps", "test_mlflow_client", "test_generated_client"),
    }
)

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With TEST_DATABASE=postgres: what asks a database, and is quick."""
    if os.environ.get("TEST_DATABASE") != "postgres":
        return

    def differs(item: pytest.Item) -> bool:
        fixtures = getattr(item, "fixturenames", ())
        asks = "db" in fixtures or item.get_closest_marker("django_db") is not None
        long = any(item.get_closest_marker(name) for name in ("slow", "browser"))
        return asks and not long and item.path.stem not in TRAINING

    kept = [item for item in items if differs(item)]
    left = [item for item in items if not differs(item)]
    config.hook.pytest_deselected(items=left)
    items[:] = kept


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep together what an `xdist_group` names, and what shares a fixture of its module: apart, it
    would be made twice, in one installation too. (pytest-xdist 3.8 writes the group into a test's
    id, in a place where pytest 9.2 no longer reads it.)"""
    groups = sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")})
    if not groups and isinstance(item, pytest.Function):
        made = item._fixtureinfo.name2fixturedefs.values()
        if any(definitions[-1].scope == "module" for definitions in made):
            groups = [item.path.stem]
    if groups and getattr(item.config.option, "loadgroup", False):
        item._id = NodeId.parse(f"{item.nodeid}@{'_'.join(groups)}")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Without what keeps the audit log from being emptied, which is how a test with transactions of
    its own leaves its database. Tests of the log put it back (tests/site/test_audit.py)."""
    with django_db_blocker.unblock():
        audit_guard.take_off(connection)
    # Django writes them anew after each such test, too, which takes longer than most tests.
    post_migrate.disconnect(create_contenttypes)
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real datasets, where this machine has them."""
    if not DATA.is_dir():
        pytest.skip("the shared real datasets are not on this machine")
    return DATA


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real S3 server."""
    with servers.s3(tmp_path_factory.mktemp("s3") / "server") as address:
        yield address


@pytest.fixture(autouse=True)
def own_files(settings: LazySettings, tmp_path: Path) -> None:
    """Every test writes its files into a folder of its own, and queues run at once."""
    settings.MEDIA_ROOT = tmp_path / "files"
    settings.DISTILLHUB_HOME = tmp_path / "home"
    settings.DISTILLHUB_HOME.mkdir()
    settings.WHITENOISE_AUTOREFRESH = True  # no walk over every static file for each client
    # Argon2 is slow on purpose, and nearly every test makes three people.
    quick = "django.contrib.auth.hashers.MD5PasswordHasher"
    settings.PASSWORD_HASHERS = [quick, *settings.PASSWORD_HASHERS]
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }


@pytest.fixture
def alice(db: None) -> User:
    return make.user("alice")


@pytest.fixture
def erin(db: None) -> User:
    return make.user("erin")


@pytest.fixture
def vera(db: None) -> User:
    return make.user("vera")


@pytest.fixture
def charlie(db: None) -> User:
    return make.user("charlie")


@pytest.fixture
def project(alice: User, erin: User, vera: User) -> Project:
    """Alice's project, which Erin edits and Vera views."""
    return make.project("intents", owner=alice, editor=erin, viewer=vera)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def api_of(user: User) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client
