"""What Lambda functions are called: the names of the seeds, and how Lambda takes them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from venturekit.protocol.function_names import (
    InvalidRouteError,
    filled_route,
    function_name,
    lambda_name,
    route_name,
    route_parameters,
)

LEGAL = re.compile(r"[A-Za-z0-9_-]{1,64}")


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("users/list", "app-users-list"),
        ("/users/list/", "app-users-list"),
        ("tasks/{id}", "app-tasks-{id}"),
        ("users/{id}/notes/{note_id}", "app-users-{id}-notes-{note_id}"),
        ("files/{path+}", "app-files-{path+}"),
        ("", "app-index"),
        ("/", "app-index"),
        ("a//b", "app-a-b"),
        ("v1-beta/a_b", "app-v1-beta-a_b"),
    ],
)
def test_routes(route: str, expected: str) -> None:
    assert route_name("app", route) == expected


@pytest.mark.parametrize("route", ["a b", "ä", "a.b", "../b", "{", "{id", "id}", "{}", "{a-b}", "{id+}}", "a?b", "a\n"])
def test_what_is_no_route(route: str) -> None:
    with pytest.raises(InvalidRouteError, match="is no route"):
        route_name("app", route)


@pytest.mark.parametrize(
    ("kind", "expected"), [("fn", "app-dev-fn-a-b"), ("queue", "app-dev-queue-a-b"), ("cron", "app-dev-cron-a-b")]
)
def test_functions_queues_and_schedules(kind: str, expected: str) -> None:
    assert function_name("app", "dev", "a-b", kind) == expected


@pytest.mark.parametrize("name", ["", "a/b", "a.b", "ä", "a b", "{id}", "a\n"])
def test_what_is_no_name_of_a_function(name: str) -> None:
    with pytest.raises(InvalidRouteError, match="is no name of a function"):
        function_name("app", "dev", name)


def test_braces_are_written_otherwise() -> None:
    assert lambda_name("app-tasks-{id}") == "app-tasks-_id_"
    assert lambda_name("app-files-{path+}") == "app-files-_path_plus_"
    assert lambda_name("app-users-list") == "app-users-list"


def test_a_long_name_ends_in_a_hash() -> None:
    names = {lambda_name("app-" + "x" * length) for length in range(50, 200)}
    assert len(names) == 150
    assert max(map(len, names)) == 64
    assert lambda_name("x" * 64) == "x" * 64
    long = lambda_name("x" * 65)
    assert re.fullmatch(r"x{55}-[0-9a-f]{8}", long)
    assert long == lambda_name("x" * 65)
    assert lambda_name("x" * 60 + "-{id}-a") != lambda_name("x" * 60 + "-{id}-b")


parts = st.one_of(st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True), st.from_regex(r"\{[a-z]{1,6}\+?\}", fullmatch=True))


@settings(max_examples=50)
@given(st.lists(st.lists(parts, max_size=6).map("/".join), min_size=2, max_size=20, unique=True))
def test_different_routes_have_different_legal_names(routes: list[str]) -> None:
    names = {route_name("app", route) for route in routes}
    made = {lambda_name(name) for name in names}
    assert len(made) == len(names)
    assert all(LEGAL.fullmatch(name) for name in made)


@pytest.mark.parametrize(
    ("route", "parameters", "expected"),
    [
        ("users/{id}", {"id": "42"}, "/users/42"),
        ("users/{id}", {"id": "a/b ä?"}, "/users/a%2Fb%20%C3%A4%3F"),
        ("files/{path+}", {"path": "a/b c"}, "/files/a/b%20c"),
        ("/a/", {}, "/a"),
        ("", {}, "/"),
    ],
)
def test_a_path_is_filled(route: str, parameters: dict[str, str], expected: str) -> None:
    assert filled_route(route, parameters) == expected
    assert route_parameters(route) == list(parameters)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [({}, "needs id in path_params"), ({"id": ""}, "needs id"), ({"id": "1", "x": "2"}, "has no x in path_params")],
)
def test_parameters_must_fit(parameters: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidRouteError, match=text):
        filled_route("users/{id}", parameters)
