"""Questions that every request asks of the database, written as SQL once.

    BY_DIGEST = Phrased(
        lambda: ApiToken.objects.select_related("user").filter(digest=Given("digest", CharField()))
    )
    found = BY_DIGEST.first(digest=sent)

Django takes five times longer to phrase such a question than a database to answer it, and phrases
it anew each time. What is asked here is its SQL of the first time, on the connection of this
thread, with the values of this time; rows become objects as they always do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.expressions import Expression
from django.db.models.query import ModelIterable, QuerySet
from django.db.models.sql.compiler import SQLCompiler
from django.db.transaction import TransactionManagementError

Row = TypeVar("Row", bound=models.Model)


class Given(Expression):
    """A value that is known when it is asked."""

    def __init__(self, name: str, field: models.Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        return "%s", (self,)


class Phrased(Generic[Row]):
    """What `ask` says, with a Given for whatever is another one each time. Constants of it are
    numbers: a text or a time might be of the moment at which it was phrased."""

    def __init__(self, ask: Callable[[], QuerySet[Row]]) -> None:
        self._ask = ask

    def first(self, **values: Any) -> Row | None:
        """For questions that have one answer: it is not put into an order."""
        return next(iter(self.rows(**values)), None)

    def rows(self, **values: Any) -> list[Row]:
        compiler, sql, parts = self._phrased
        if compiler.query.select_for_update and not connection.in_atomic_block:
            raise TransactionManagementError("Rows are locked within a transaction.")
        again = copy(compiler)
        again.connection = connections[DEFAULT_DB_ALIAS]  # itself: its proxy looks it up each time
        told = tuple(_value(part, values) for part in parts)
        again.as_sql = lambda *args, **kwargs: (sql, told)  # type: ignore[method-assign]
        return list(ModelIterable(_Answer(again)))  # type: ignore[arg-type]

    @cached_property
    def _phrased(self) -> tuple[SQLCompiler, str, list[Any]]:
        compiler = self._ask().query.get_compiler(connection=connection)
        sql, parts = compiler.as_sql()
        for part in parts:
            if not isinstance(part, Given | int):
                raise TypeError(f"{part!r} would be what it is now for ever; let it be Given.")
        return compiler, sql, list(parts)


class _Answer:
    """As much of a QuerySet as what makes objects of rows looks at."""

    db = "default"
    _known_related_objects: ClassVar[Mapping[Any, Any]] = {}

    def __init__(self, compiler: SQLCompiler) -> None:
        self.query, self.compiler = self, compiler

    def get_compiler(self, using: str) -> SQLCompiler:
        return self.compiler


def _value(part: Any, values: Mapping[str, Any]) -> Any:
    if not isinstance(part, Given):
        return part
    return part.output_field.get_db_prep_value(values[part.name], connection)
