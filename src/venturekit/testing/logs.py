"""The records that the framework's loggers write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.runtime import logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self


class LogCapture:
    """Keeps the records of all loggers of the framework while it is installed, as they were written::

        >>> from venturekit.runtime import create_logger
        >>> from venturekit.testing import LogCapture
        >>> log = create_logger(write=lambda line: None)
        >>> with LogCapture() as capture:
        ...     log.info("placed", {"orderId": "1", "password": "secret"})
        >>> capture.messages
        ['placed']
        >>> capture.one(level="INFO")["orderId"], capture.records[0]["password"]
        ('1', '[redacted]')

    A record is a dictionary with ``timestamp``, ``level``, ``message``, the ids of the invocation, and the fields.
    Records below a logger's level are not written, so they are not here. Lines are written all the same.
    """

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self._former: tuple[Any, Any] | None = None

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def install(self) -> None:
        """Begin. Raises RuntimeError when it has begun already."""
        if self._former is not None:
            raise RuntimeError("this capture is installed already")
        as_json, as_text = self._former = logs._json, logs._text

        def json_line(record: dict[str, Any]) -> str:
            self.records.append(dict(record))
            return as_json(record)

        def text_line(record: dict[str, Any]) -> str:
            self.records.append(dict(record))
            return as_text(record)

        logs._json, logs._text = json_line, text_line

    def remove(self) -> None:
        """End; the records stay. Does nothing when it has ended."""
        if self._former is not None:
            logs._json, logs._text = self._former
            self._former = None

    @property
    def messages(self) -> list[str]:
        """The messages, one by one."""
        return [record["message"] for record in self.records]

    def find(self, message: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """The records with this message and these fields."""
        wanted: Mapping[str, Any] = fields if message is None else {"message": message, **fields}
        return [
            record
            for record in self.records
            if all(name in record and record[name] == value for name, value in wanted.items())
        ]

    def one(self, message: str | None = None, **fields: Any) -> dict[str, Any]:
        """The one record with this message and these fields. Raises AssertionError, with all that was written."""
        found = self.find(message, **fields)
        if len(found) != 1:
            wanted = fields if message is None else {"message": message, **fields}
            written = "\n".join(map(repr, self.records)) or "nothing"
            raise AssertionError(f"{len(found)} records have {wanted}; written was:\n{written}")
        return found[0]

    def clear(self) -> None:
        """Forget what was written."""
        self.records.clear()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)
