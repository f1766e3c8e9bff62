"""Nothing that people send becomes code, a name that is imported, or a column: of the source by
laws over its syntax, and of MLflow's protocol by asking for what is no parameter of it."""

import ast
from functools import cache
from pathlib import Path

from projects.models import User
from projects.services import accounts
from tests.site.permission_table import MLFLOW
from tests.site.test_attacks_tokens import ask
from tests.site.world import ROUTES, World, world  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent.parent
#: A module is imported by a name that is not written there: a registry's own home, a constant of
#: ours, or a setting, each looked at when it was added here.
IMPORTS_BY_NAME = {
    "projects/services/sessions.py": "a setting",
    "projects/services/subjects.py": "a table of ours",
    "projects/services/likeness.py": "a table of ours",
    "projects/ingest/checks/registry.py": "its own home",
    "projects/ingest/registry.py": "its own home",
    "projects/operations/registry.py": "its own home",
    "training/engine/registry.py": "its own home",
    "training/worker/sweeps.py": "a table of ours",
    "distillhub/cli/commands.py": "a table of ours",
    "distillhub/lib/later.py": "what the code names",
}
#: A column is named by a text that is put together: of words of ours, each looked at likewise.
COLUMNS_BY_NAME = {
    "projects/models/completion.py",
    "training/services/experiment_search.py",
    "training/services/logged_models.py",
    "training/services/run_filters.py",
    "training/services/run_search.py",
}
NEVER = {"eval", "exec", "__import__", "compile"}
NEVER_OF = {
    *("os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.loads", "shelve.open"),
    *("runpy.run_path", "joblib.load", "subprocess.getoutput"),
}
NEVER_TRUE = {"shell", "trust_remote_code", "allow_pickle"}
NEVER_FALSE = {"weights_only", "verify"}


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """Every call of the product's code, and the file it stands in."""
    found = []
    for folder in ("distillhub", "projects", "training"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in file.parts:
                tree = ast.walk(ast.parse(file.read_text()))
                name = str(file.relative_to(ROOT))
                found += [(name, node) for node in tree if isinstance(node, ast.Call)]
    return found


def dotted(call: ast.Call) -> str:
    """`os.system` of what is called, where it is a name; nothing of what is longer."""
    if isinstance(call.func, ast.Name):
        return call.func.id
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        return f"{call.func.value.id}.{call.func.attr}"
    return ""


def test_no_text_becomes_code_and_nothing_goes_through_a_shell() -> None:
    for name, call in calls():
        where = f"{name}:{call.lineno}"
        assert dotted(call) not in NEVER | NEVER_OF, where
        for given in call.keywords:
            told = given.value.value if isinstance(given.value, ast.Constant) else None
            assert not (given.arg in NEVER_TRUE and told is True), where
            assert not (given.arg in NEVER_FALSE and told is False), where


def test_no_module_is_imported_by_a_name_that_people_send() -> None:
    ways = {"importlib.import_module", "import_module", "import_string"}
    found = {
        name
        for name, call in calls()
        if dotted(call) in ways and not isinstance(call.args[0], ast.Constant)
    }
    assert found == set(IMPORTS_BY_NAME)


def test_no_column_is_named_by_what_people_send() -> None:
    found = set()
    for name, call in calls():
        if not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr not in {"filter", "exclude", "get", "annotate", "alias"}:
            continue
        for given in call.keywords:
            if given.arg is None and isinstance(given.value, ast.Dict):
                keys = given.value.keys
                if not all(isinstance(key, ast.Constant) for key in keys):
                    found.add(name)
    assert found <= COLUMNS_BY_NAME


ASKED = "is_superuser=1&user__password__startswith=a&order=-user__password&ordering=password"


def test_what_is_no_parameter_changes_no_answer(world: World, alice: User) -> None:  # noqa: F811
    """Of MLflow's protocol, whose clients may send more than we know: no column is compared or
    sorted by it. REST refuses it everywhere (tests/site/test_queries.py)."""
    _, raw = accounts.create_token(user=alice, name="all", scope="read")
    changed, same = [], 0
    for route in ROUTES:
        if "GET" not in MLFLOW.get(route.name, {}):
            continue
        address = world.address(route)
        plain, asked = ask(raw, "GET", address), ask(raw, "GET", f"{address}?{ASKED}")
        same += plain.status_code == asked.status_code
        if getattr(plain, "content", b"") != getattr(asked, "content", b""):
            changed.append(route.name)
    assert not changed
    assert same > 5
