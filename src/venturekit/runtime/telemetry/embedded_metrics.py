"""Metrics in CloudWatch's embedded metric format: lines of JSON in the log, of which CloudWatch makes metrics.

Source: Amazon CloudWatch User Guide, "Specification: Embedded metric format"; CloudWatch API Reference, "MetricDatum".
"""

from __future__ import annotations

import sys
import time
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.context import current_context
from venturekit.runtime.encoding import to_json
from venturekit.runtime.middleware.steps import NEXT, from_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from venturekit.runtime.context import BaseContext
    from venturekit.runtime.middleware.base import Middleware

METRICS_LIMIT: Final = 100
"""Metrics of one line; more of them make another line."""
VALUES_LIMIT: Final = 100
"""Values of one metric in one line."""
DIMENSIONS_LIMIT: Final = 30
NAME_LIMIT: Final = 1024
NAMESPACE_LIMIT: Final = 255
DIMENSION_NAME_LIMIT: Final = 250
PENDING_LIMIT: Final = 10_000
"""Values that wait; then they are written, though the invocation goes on."""
VALUE_LIMIT: Final = 2.0**360
_OF_NAMESPACES: Final = ".-_/#: "
_RATES: Final = ("Bytes", "Kilobytes", "Megabytes", "Gigabytes", "Terabytes")
_BITS: Final = ("Bits", "Kilobits", "Megabits", "Gigabits", "Terabits")
UNITS: Final = frozenset(
    {
        *("Seconds", "Microseconds", "Milliseconds", "Percent", "Count", "Count/Second", "None"),
        *_RATES,
        *_BITS,
        *(f"{unit}/Second" for unit in (*_RATES, *_BITS)),
    }
)


class MetricError(ValueError):
    """A metric that CloudWatch would not take; the text says why."""


class _Pending:
    """What one invocation has to tell."""

    __slots__ = ("count", "dimensions", "properties", "values")

    def __init__(self) -> None:
        self.dimensions: dict[str, str] = {}
        self.properties: dict[str, Any] = {}
        self.values: dict[tuple[str, str, bool], list[int | float]] = {}
        self.count = 0

    def take(self, *, keep: bool) -> tuple[dict[tuple[str, str, bool], list[int | float]], dict[str, str], Any]:
        """Values, dimensions and properties, which are then forgotten; with ``keep`` the values alone."""
        taken = self.values, dict(self.dimensions), dict(self.properties)
        self.values, self.count = {}, 0
        if not keep:
            self.dimensions, self.properties = {}, {}
        return taken


class Metrics:
    """Metrics of a namespace: ``metrics.add("orders", 1, "Count")``. ``create_metrics()`` makes it.

    What is added within an invocation is kept with it, and written by ``flush()``, which ``metrics_middleware`` calls
    at its end. Threads and tasks of an invocation may add at once; a thread has the invocation's dimensions if it was
    begun with its context (``contextvars.copy_context().run``), and else those of the namespace alone.
    """

    def __init__(
        self,
        namespace: str,
        dimensions: Mapping[str, Any] | None = None,
        *,
        write: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.namespace = _checked_name(namespace, "a namespace", NAMESPACE_LIMIT)
        if namespace.startswith(":") or not all(letter.isalnum() or letter in _OF_NAMESPACES for letter in namespace):
            raise MetricError(
                f"{namespace!r} is no namespace of CloudWatch, which has letters, digits, blanks and "
                f"{_OF_NAMESPACES.strip()} only, and no colon at its beginning"
            )
        if namespace.startswith("AWS/"):
            raise MetricError(f"the namespace {namespace!r} is AWS's own: choose one that does not begin with AWS/")
        self._dimensions = _checked_dimensions({}, dimensions or {})
        self._write = write or _to_stdout
        self._clock = clock
        self._outside = _Pending()
        self._lock = allocate_lock()
        self._key = f"venturekit.metrics.{id(self)}"

    def add(self, name: str, value: float, unit: str = "None", *, high_resolution: bool = False) -> None:
        """One value of a metric; values of one name make one metric with all of them.

        ``unit`` is one of CloudWatch's: ``Count``, ``Milliseconds``, ``Bytes``, ``Percent``, ``Count/Second``, ...
        ``high_resolution``: kept by the second, not by the minute. Raises MetricError.
        """
        _checked_name(name, "a metric", NAME_LIMIT)
        if unit not in UNITS:
            raise MetricError(f"{unit!r} is no unit of CloudWatch: {', '.join(sorted(UNITS))} are")
        number = _checked_value(name, value)
        with self._lock:
            pending = self._pending()
            if name in pending.dimensions or name in self._dimensions or name in pending.properties:
                raise MetricError(f"{name!r} is a dimension or property already: a line has room for one of the name")
            if any(known[0] == name and known != (name, unit, high_resolution) for known in pending.values):
                raise MetricError(f"the metric {name!r} has another unit or resolution already")
            pending.values.setdefault((name, unit, high_resolution), []).append(number)
            pending.count += 1
            is_full = pending.count >= PENDING_LIMIT
        if is_full:
            self.flush(keep=True)

    def add_dimensions(self, dimensions: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Dimensions of everything that this invocation tells: ``metrics.add_dimensions(customer="acme")``

        Every combination of values is a metric of its own, and is paid for. Raises MetricError.
        """
        with self._lock:
            pending = self._pending()
            given = {**(dimensions or {}), **more}
            _refuse_known(given, {key[0] for key in pending.values} | set(pending.properties), "metric or property")
            checked = _checked_dimensions({**self._dimensions, **pending.dimensions}, given)
            pending.dimensions = {name: text for name, text in checked.items() if self._dimensions.get(name) != text}

    def add_property(self, name: str, value: Any) -> None:
        """Something to be found in the log beside the metrics, of which no metric is made: the id of an order.

        Raises MetricError, and NotSerializableError for what JSON cannot hold.
        """
        _checked_name(name, "a property", NAME_LIMIT)
        to_json(value)
        with self._lock:
            pending = self._pending()
            taken = {key[0] for key in pending.values} | set(pending.dimensions) | set(self._dimensions)
            _refuse_known({name: value}, taken, "metric or dimension")
            pending.properties[name] = value

    def flush(self, *, keep: bool = False) -> None:
        """Write what was added: one line, or as many as the limits ask for. ``keep``: all but the values stays."""
        with self._lock:
            pending = self._pending()
            # A thread that was begun without the context of its invocation has added to what belongs to none.
            taken = [pending.take(keep=keep)]
            if pending is not self._outside:
                taken.append(self._outside.take(keep=keep))
        now_ms = int(self._clock() * 1000)
        for values, dimensions, properties in taken:
            for some in _lines_of(values):
                self._write(_line(self.namespace, {**self._dimensions, **dimensions}, properties, some, now_ms))

    def _pending(self) -> _Pending:
        ctx = current_context()
        if ctx is None:
            return self._outside
        found: _Pending = ctx.state.setdefault(self._key, _Pending())
        return found

    def __repr__(self) -> str:
        return f"Metrics({self.namespace!r})"


def create_metrics(
    namespace: str,
    dimensions: Mapping[str, Any] | None = None,
    *,
    write: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.time,
) -> Metrics:
    """Metrics of a namespace, with dimensions that all of them have::

        metrics = create_metrics("Shop", {"service": "orders"})

        def place(body):
            metrics.add("orders", 1, "Count")
            metrics.add("total", body["total"], "None")

        main = handler(place, middleware=[metrics_middleware(metrics)])

    ``write`` takes each line, without its end; by default it goes to the standard output, as it is. ``clock`` gives
    epoch seconds. Raises MetricError for names that CloudWatch does not take.
    """
    return Metrics(namespace, dimensions, write=write, clock=clock)


def metrics_middleware(metrics: Metrics) -> Middleware:
    """Writes the metrics of an invocation at its end, also when it fails::

    main = handler(list_orders, middleware=[metrics_middleware(create_metrics("Shop"))])
    """

    def steps(ctx: BaseContext) -> Generator[Any, Any, Any]:
        try:
            return (yield NEXT)
        finally:
            metrics.flush()

    return from_steps("metrics", steps)


def _lines_of(values: Mapping[tuple[str, str, bool], list[int | float]]) -> list[dict[tuple[str, str, bool], Any]]:
    """Values in portions that one line may hold."""
    lines: list[dict[tuple[str, str, bool], Any]] = []
    portions = max((-(-len(numbers) // VALUES_LIMIT) for numbers in values.values()), default=0)
    for portion in range(portions):
        begin = portion * VALUES_LIMIT
        some = [(key, numbers[begin : begin + VALUES_LIMIT]) for key, numbers in values.items()]
        some = [(key, numbers) for key, numbers in some if numbers]
        lines += [dict(some[at : at + METRICS_LIMIT]) for at in range(0, len(some), METRICS_LIMIT)]
    return lines


def _line(
    namespace: str,
    dimensions: Mapping[str, str],
    properties: Mapping[str, Any],
    values: Mapping[tuple[str, str, bool], list[int | float]],
    now_ms: int,
) -> str:
    described = [
        {"Name": name, "Unit": unit, **({"StorageResolution": 1} if high_resolution else {})}
        for name, unit, high_resolution in values
    ]
    directive = {"Namespace": namespace, "Dimensions": [list(dimensions)], "Metrics": described}
    numbers = {key[0]: given[0] if len(given) == 1 else given for key, given in values.items()}
    return to_json(
        {"_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]}, **properties, **dimensions, **numbers}
    )


def _checked_name(name: Any, what: str, limit: int) -> str:
    if not isinstance(name, str) or len(name) > limit or not _is_plain(name):
        raise MetricError(
            f"the name of {what} is an ASCII text of 1 to {limit} characters, none of them a control character, and "
            f"not {name!r:.100}"
        )
    if name == "_aws" or (what == "a dimension" and name.startswith(":")):
        raise MetricError(f"{what} cannot be called {name!r}: CloudWatch keeps that for itself")
    return name


def _checked_value(name: str, value: Any) -> int | float:
    # A Decimal, and the numbers of libraries; a truth value is no measurement.
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise MetricError(f"the metric {name!r} is a number, and not {value!r:.100}")
    try:
        number = float(value)
    except (OverflowError, ValueError):
        number = float("inf")
    if not -VALUE_LIMIT <= number <= VALUE_LIMIT:
        raise MetricError(f"the metric {name!r} has the value {value!r:.50}: CloudWatch takes numbers up to 2^360")
    return value if type(value) is int else number


def _checked_dimensions(known: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    made = dict(known)
    for name, value in given.items():
        _checked_name(name, "a dimension", DIMENSION_NAME_LIMIT)
        text = str(value)
        if value is None or len(text) > NAME_LIMIT or not _is_plain(text):
            raise MetricError(
                f"the dimension {name!r} is an ASCII text of 1 to {NAME_LIMIT} characters, none of them a control "
                f"character, and not {value!r:.100}"
            )
        made[name] = text
    if len(made) > DIMENSIONS_LIMIT:
        raise MetricError(f"a metric has {DIMENSIONS_LIMIT} dimensions at most, and not {len(made)}")
    return made


def _is_plain(text: str) -> bool:
    return bool(text.strip()) and text.isascii() and text.isprintable()


def _refuse_known(given: Mapping[str, Any], taken: set[str], what: str) -> None:
    for name in given:
        if name in taken:
            raise MetricError(f"{name!r} is a {what} already: a line has room for one of the name")


def _to_stdout(line: str) -> None:
    stdout = sys.stdout
    try:
        stdout.write(line + "\n")
        stdout.flush()
    except (OSError, ValueError, AttributeError):
        # Nobody is there to read it: that is no fault of the request.
        return
