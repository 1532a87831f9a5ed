"""Handlers with middleware around them, blocking and asynchronous, for requests and for tasks."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from venturekit.runtime import Logger, handler, task_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KINDS = ("sync", "async")
ADDRESS = "203.0.113.7"


class Clock:
    """Seconds that pass by hand."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Records:
    """A logger, and what was written by it."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self.logger = Logger(write=lambda line: self.all.append(json.loads(line)), format="JSON", min_level="debug")

    @property
    def messages(self) -> list[str]:
        """Level and message of each."""
        return [f"{record['level']} {record['message']}" for record in self.all]


def request(
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    *,
    path: str = "/users",
    address: str = ADDRESS,
    internal: bool = False,
    body: str | None = None,
) -> dict[str, Any]:
    """An event of payload format 2.0."""
    context: dict[str, Any] = {"requestId": "own-id", "http": {"method": method, "path": path, "sourceIp": address}}
    if internal:
        context["venturekit"] = {"invokeId": "i-1", "userId": "caller"}
    return {"version": "2.0", "rawPath": path, "headers": dict(headers or {}), "requestContext": context, "body": body}


def twin(fn: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """The function, or one with ``async def`` that does the same."""
    if kind == "sync":
        return fn

    async def waiting(first: Any, ctx: Any) -> Any:
        await asyncio.sleep(0)
        return fn(first, ctx)

    return waiting


def answer(
    middleware: Any, event: Any, fn: Any = lambda body, ctx: {"ok": True}, *, kind: str = "sync", **options: Any
) -> dict[str, Any]:
    """What an HTTP handler of the function answers; its own logs are off unless there is a logger."""
    listed = middleware if isinstance(middleware, list) else [middleware]
    options.setdefault("logger", Logger(min_level="silent"))
    result: dict[str, Any] = handler(twin(fn, kind), middleware=listed, access_log=False, **options)(event)
    return result


def run_task(
    middleware: Any, event: Any = None, fn: Any = lambda event, ctx: "done", *, kind: str = "sync", **options: Any
) -> Any:
    """The result of a task handler of the function."""
    listed = middleware if isinstance(middleware, list) else [middleware]
    options.setdefault("logger", Logger(min_level="silent"))
    context = options.pop("context", None)
    return task_handler(twin(fn, kind), middleware=listed, task_log=False, **options)(event, context)


def data_of(result: Mapping[str, Any]) -> Any:
    """What is in the envelope."""
    return json.loads(result["body"])["data"]


def error_of(result: Mapping[str, Any]) -> Any:
    """The error object."""
    return json.loads(result["body"])["error"]
