"""A schema of a class that says what it holds by annotations: dataclasses, ``TypedDict``, and the types inside them.

Imported when a handler has such a schema: what reads annotations takes milliseconds to import. Annotations are read
once; what is made of them are functions that check values.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Union

from venturekit.runtime import typed_values
from venturekit.runtime.schema import ISSUES_LIMIT, Issue, SchemaError
from venturekit.runtime.typed_description import describe, is_required, required_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

Path = tuple[str | int, ...]
Check = Callable[[Any, Path, list[Issue]], Any]
"""Gives the value that a value becomes, having appended what is wrong with it to the issues."""
Variables = typing.Mapping[Any, Any]


def is_supported(kind: Any) -> bool:
    """Whether a ``TypedSchema`` of it makes sense: dataclasses, TypedDict, JSON's own types, ``list[User]``, ..."""
    return (
        dataclasses.is_dataclass(kind)
        or typing.is_typeddict(kind)
        or typing.get_origin(kind) is not None
        or kind in (Any, None)
        or (isinstance(kind, type) and typed_values.is_known(kind))
    )


class TypedSchema:
    """Checks values against annotations.

    Numbers, truth values, dates, times, UUIDs and Decimals are also taken as texts, as queries and forms send them.
    Fields that are not declared are an issue, for a misspelt name would go unnoticed; ``ignore_unknown`` leaves them
    out instead. What ``Annotated`` adds to a type is not looked at.

    Raises TypeError for annotations that cannot be checked.
    """

    def __init__(self, kind: Any, *, ignore_unknown: bool = False) -> None:
        self._kind = kind
        self._ignore_unknown = ignore_unknown
        try:
            self._check: Check | None = self._compiled()
        except NameError:
            # A class that is defined further down: by the first value it is there.
            self._check = None

    def _compiled(self) -> Check:
        return _Compiler(self._ignore_unknown).check(self._kind, {})

    def parse(self, value: Any) -> Any:
        """The value, dataclasses as their instances. Raises SchemaError with all issues."""
        if self._check is None:
            self._check = self._compiled()
        issues: list[Issue] = []
        try:
            made = self._check(value, (), issues)
        except RecursionError:
            raise SchemaError([Issue((), "is nested too deeply")]) from None
        if issues:
            raise SchemaError(issues)
        return made

    def json_schema(self) -> Mapping[str, Any]:
        """As JSON Schema, nested types in place."""
        return describe(self._kind)


class _Fields:
    """The check of a dataclass or TypedDict. An object, because a class may have itself in its fields."""

    __slots__ = ("checks", "ignore_unknown", "kind", "required")

    def __init__(self, kind: Any, ignore_unknown: bool) -> None:
        self.kind: type | None = kind if dataclasses.is_dataclass(kind) else None  # type: ignore[assignment]
        self.ignore_unknown = ignore_unknown
        self.checks: dict[str, Check] = {}
        self.required: frozenset[str] = frozenset()

    def check(self, value: Any, path: Path, issues: list[Issue]) -> Any:
        if not isinstance(value, dict):
            if self.kind is not None and isinstance(value, self.kind):
                return value
            issues.append(Issue(path, f"must be an object, not {typed_values.name_of(value)}"))
            return None
        before = len(issues)
        made = {}
        for name, check in self.checks.items():
            if name in value:
                made[name] = check(value[name], (*path, name), issues)
            elif name in self.required:
                issues.append(Issue((*path, name), "is required"))
        if not self.ignore_unknown and (len(made) < len(value)):
            issues += [Issue((*path, str(name)), "is not known") for name in value if name not in self.checks]
        if self.kind is None or len(issues) > before:
            return made
        try:
            return self.kind(**made)
        except ValueError as problem:
            issues.append(Issue(path, str(problem) or "is not valid"))
            return None


class _Compiler:
    """Makes checks of annotations."""

    def __init__(self, ignore_unknown: bool) -> None:
        self._ignore_unknown = ignore_unknown
        self._classes: dict[Any, _Fields] = {}

    def check(self, kind: Any, variables: Variables) -> Check:
        """The check of a type. Raises TypeError for one that cannot be checked, NameError for one not yet defined."""
        if isinstance(kind, typing.TypeVar):
            kind = variables.get(kind, kind.__bound__ or Any)
        while hasattr(kind, "__supertype__"):  # NewType
            kind = kind.__supertype__
        if kind is Any or kind is object:
            return _anything
        if kind is None or kind is types.NoneType:
            return typed_values.check_null
        if hasattr(kind, "model_validate"):
            return _model(kind)
        if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
            return self._fields(kind, {})
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if origin is None:
            return typed_values.check_of(kind)
        if dataclasses.is_dataclass(origin) or typing.is_typeddict(origin):
            bound = {
                parameter: variables.get(argument, argument) if isinstance(argument, typing.TypeVar) else argument
                for parameter, argument in zip(origin.__parameters__, arguments, strict=False)
            }
            return self._fields(origin, bound)
        return self._generic(kind, origin, arguments, variables)

    def _fields(self, kind: Any, variables: Variables) -> Check:
        key = (kind, *variables.items())
        if key not in self._classes:
            made = self._classes[key] = _Fields(kind, self._ignore_unknown)
            hints = typing.get_type_hints(kind, include_extras=True)
            if made.kind is None:
                names, made.required = list(hints), required_keys(kind, hints)
            else:
                fields = [field for field in dataclasses.fields(kind) if field.init]
                names = [field.name for field in fields]
                made.required = frozenset(field.name for field in fields if is_required(field))
            made.checks.update({name: self.check(hints[name], variables) for name in names})
        return self._classes[key].check

    def _generic(self, kind: Any, origin: Any, arguments: tuple[Any, ...], variables: Variables) -> Check:
        if origin in (typing.Required, typing.NotRequired, typing.Annotated, typing.Final):
            return self.check(arguments[0], variables)
        if origin is typing.Literal:
            return typed_values.check_of_choices(arguments)
        if origin in (Union, types.UnionType):
            return _union([(option, self.check(option, variables)) for option in arguments])
        if not isinstance(origin, type):
            raise TypeError(f"the annotation {kind!r} cannot be checked")
        if issubclass(origin, tuple):
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                return _items(tuple, self.check(arguments[0], variables))
            return _tuple([self.check(argument, variables) for argument in arguments])
        if issubclass(dict, origin) and len(arguments) == 2:
            return _mapping(self.check(arguments[0], variables), self.check(arguments[1], variables))
        for built in (list, set, frozenset):
            if issubclass(built, origin) and len(arguments) == 1:
                return _items(built, self.check(arguments[0], variables))
        raise TypeError(f"the annotation {kind!r} cannot be checked")


def _anything(value: Any, path: Path, issues: list[Issue]) -> Any:
    return value


def _model(kind: Any) -> Check:
    """A Pydantic model inside of something else."""
    from venturekit.runtime.schema import PydanticSchema, parsed

    schema: PydanticSchema[Any] = PydanticSchema(kind)

    def check(value: Any, path: Path, issues: list[Issue]) -> Any:
        try:
            return parsed(schema, value)
        except SchemaError as problem:
            issues += [Issue((*path, *issue.path), issue.message) for issue in problem.issues]
            return None

    return check


def _items(built: Callable[[list[Any]], Any], item: Check) -> Check:
    def check(value: Any, path: Path, issues: list[Issue]) -> Any:
        if not isinstance(value, list | tuple):
            issues.append(Issue(path, f"must be a list, not {typed_values.name_of(value)}"))
            return None
        made = []
        for index, given in enumerate(value):
            made.append(item(given, (*path, index), issues))
            if len(issues) > ISSUES_LIMIT:
                return None
        try:
            return made if built is list else built(made)
        except TypeError:
            issues.append(Issue(path, "has items that cannot be in a set"))
            return None

    return check


def _tuple(items: list[Check]) -> Check:
    def check(value: Any, path: Path, issues: list[Issue]) -> Any:
        if not isinstance(value, list | tuple):
            issues.append(Issue(path, f"must be a list, not {typed_values.name_of(value)}"))
            return None
        if len(value) != len(items):
            issues.append(Issue(path, f"must have {len(items)} items, not {len(value)}"))
            return None
        return tuple(items[index](given, (*path, index), issues) for index, given in enumerate(value))

    return check


def _mapping(key: Check, item: Check) -> Check:
    def check(value: Any, path: Path, issues: list[Issue]) -> Any:
        if not isinstance(value, dict):
            issues.append(Issue(path, f"must be an object, not {typed_values.name_of(value)}"))
            return None
        made = {}
        for name, given in value.items():
            where = (*path, str(name))
            made[key(name, where, issues)] = item(given, where, issues)
            if len(issues) > ISSUES_LIMIT:
                return None
        return made

    return check


def _union(options: list[tuple[Any, Check]]) -> Check:
    has_null = any(kind is types.NoneType for kind, _ in options)
    checks = [(kind, check) for kind, check in options if kind is not types.NoneType]

    def check(value: Any, path: Path, issues: list[Issue]) -> Any:
        if value is None and has_null:
            return None
        # What needs no change is what was meant: 1 is the integer of ``str | int``.
        exact = [checked for kind, checked in checks if type(value) is kind]
        failures = []
        for checked in exact or [checked for _, checked in checks]:
            found: list[Issue] = []
            made = checked(value, path, found)
            if not found:
                return made
            failures.append(found)
        # The option that got furthest tells best what is wrong.
        issues += max(failures, key=lambda found: max(len(issue.path) for issue in found))
        return None

    return check
