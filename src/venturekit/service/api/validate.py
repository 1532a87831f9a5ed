"""One validator for all operations: the model's constraints, refused in AWS's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.service.api.constraints import NOT_NULL, describe_constraints, violated_constraints
from venturekit.service.api.errors import ApiError, api_error
from venturekit.service.api.javatext import lower_first, print_value
from venturekit.service.api.quirks import MAX_VIOLATIONS, checks_enum, find_refusal, quote_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from venturekit.service.api.model import Operation, Shape


def validate_members(operation: Operation, members: Mapping[str, Any]) -> None:
    """Check members as :func:`~venturekit.service.api.parse.parse_request` gives them.

    Raises :class:`ApiError` 400 ValidationException naming every violation, in the model's order of members and
    separated by ``; `` (at most :data:`~venturekit.service.api.quirks.MAX_VIOLATIONS`); or what
    :func:`~venturekit.service.api.quirks.find_refusal` finds.
    """
    violations = find_violations(operation, members)
    if violations:
        raise validation_error(violations)
    refusal = find_refusal(operation, members)
    if refusal is not None:
        raise api_error(*refusal)


def find_violations(operation: Operation, members: Mapping[str, Any]) -> list[str]:
    """The texts ``Value '..' at '..' failed to satisfy constraint: ..`` of all violations."""
    found = _Found(operation.name)
    _check_structure(operation.input, members, "", found)
    return found.texts


def validation_error(violations: list[str]) -> ApiError:
    """The ValidationException for texts as :func:`find_violations` gives them."""
    count = len(violations)
    noun = "validation error" if count == 1 else "validation errors"
    return api_error("ValidationException", f"{count} {noun} detected: {'; '.join(violations)}")


class _Found:
    """The violations found so far. ``full`` ends the search: the time and the size of an answer are bounded."""

    __slots__ = ("operation_name", "texts")

    def __init__(self, operation_name: str) -> None:
        self.operation_name = operation_name
        self.texts: list[str] = []

    @property
    def full(self) -> bool:
        return len(self.texts) >= MAX_VIOLATIONS

    def checks_enum(self, shape: Shape) -> bool:
        return checks_enum(self.operation_name, shape)

    def describe(self, shape: Shape) -> str:
        return ", ".join(describe_constraints(shape, check_enum=self.checks_enum(shape)))

    def add(self, shape: Shape, value: Any, path: str, constraint: str) -> None:
        if not self.full:
            shown = quote_value(print_value(shape, value), sensitive=_is_sensitive(shape))
            self.texts.append(f"{shown} at '{path}' failed to satisfy constraint: {constraint}")

    def add_null(self, path: str) -> None:
        if not self.full:
            self.texts.append(f"Value null at '{path}' failed to satisfy constraint: {NOT_NULL}")


def _check_structure(shape: Shape, members: Mapping[str, Any], path: str, found: _Found) -> None:
    prefix = f"{path}." if path else ""
    for member in shape.members.values():
        inner = f"{prefix}{lower_first(member.name)}"
        value = members.get(member.name)
        if value is not None:
            _check_value(member.shape, value, inner, found)
        elif member.required:
            found.add_null(inner)


def _check_value(shape: Shape, value: Any, path: str, found: _Found) -> None:
    for constraint in violated_constraints(shape, value, check_enum=found.checks_enum(shape)):
        found.add(shape, value, path, constraint)
    if shape.kind == "structure":
        _check_structure(shape, value, path, found)
    elif shape.kind == "list" and shape.element is not None:
        _check_list(shape, shape.element, value, path, found)
    elif shape.kind == "map" and shape.element is not None and shape.key is not None:
        _check_map(shape, shape.key, shape.element, value, path, found)


def _check_list(shape: Shape, element: Shape, values: list[Any], path: str, found: _Found) -> None:
    """A violation of an element is one of the list, which names all constraints of its elements; structures inside are
    checked one by one, at ``path.<number from 1>.member``.
    """
    if not _all_hold(element, values, found):
        found.add(shape, values, path, f"Member must satisfy constraint: [{found.describe(element)}]")
    _check_inner(element, ((f"{path}.{number}.member", value) for number, value in enumerate(values, 1)), found)


def _check_map(shape: Shape, key: Shape, element: Shape, values: Mapping[str, Any], path: str, found: _Found) -> None:
    if not _all_hold(key, values, found):
        found.add(shape, values, path, f"Map keys must satisfy constraint: [{found.describe(key)}]")
    if not _all_hold(element, values.values(), found):
        found.add(shape, values, path, f"Map value must satisfy constraint: [{found.describe(element)}]")
    _check_inner(element, ((f"{path}.{name}.member", value) for name, value in values.items()), found)


def _all_hold(shape: Shape, values: Iterable[Any], found: _Found) -> bool:
    check_enum = found.checks_enum(shape)
    return all(value is not None and not violated_constraints(shape, value, check_enum=check_enum) for value in values)


def _check_inner(element: Shape, values: Iterable[tuple[str, Any]], found: _Found) -> None:
    """What lies inside the elements of a list or map; their own constraints are checked already."""
    for path, value in values:
        if found.full:
            return
        if value is None:
            continue
        if element.kind == "structure":
            _check_structure(element, value, path, found)
        elif element.kind == "list" and element.element is not None:
            _check_list(element, element.element, value, path, found)
        elif element.kind == "map" and element.element is not None and element.key is not None:
            _check_map(element, element.key, element.element, value, path, found)
        else:
            return


def _is_sensitive(shape: Shape) -> bool:
    """Whether the value must not be repeated: it, its keys or its elements are secret."""
    return shape.sensitive or any(inner is not None and inner.sensitive for inner in (shape.key, shape.element))
