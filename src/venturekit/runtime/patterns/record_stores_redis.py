"""Records in Valkey or Redis, which all execution environments share. Needs the package ``redis``.

Sources: commands EVALSHA, PEXPIRE and ZRANGEBYLEX of valkey.io; "Cluster specification" (hash tags).
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.patterns.record_checks import (
    check_find,
    check_text,
    check_write,
    checked_keys,
    foreign_record,
    is_over,
    parse_value,
    serialize_value,
)
from venturekit.runtime.patterns.record_scripts import DELETE, FIND, SCANNED_AT_ONCE, WRITE
from venturekit.runtime.patterns.record_waiting import finish
from venturekit.runtime.patterns.records import Record, RecordPage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Mapping

CONNECT_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 2.0
KEPT_LONGER_MS: Final = 60_000
_FIELDS: Final = ("value", "version", "expires", "keys")
_FOREIGN: Final = 2


class RedisRecordStore:
    """Records under ``prefix``: ``RedisRecordStore(url="rediss://cache.example.com", prefix="orders")``

    ``client`` is ``redis.Redis``, ``redis.asyncio.Redis`` or one for a cluster, in which all of a prefix is in one
    slot. Of a ``url`` it makes a blocking one when first needed, which tries twice, with a second to connect and two
    for the answer; the limits of a ``client`` are its own. The server needs Redis 6.2 or any Valkey, and must keep what
    it is given: ``maxmemory-policy noeviction``, and ``appendonly yes`` if records are to survive it. Raises what the
    client raises, ImportError without the package ``redis``, and ValueError.
    """

    def __init__(self, client: Any = None, *, url: str | None = None, prefix: str = "venturekit") -> None:
        if (client is None) == (url is None):
            raise ValueError("a client or a url is needed, and not both")
        if not prefix or set(prefix) & {"{", "}"}:
            raise ValueError(f"the prefix {prefix!r} is empty or has braces in it")
        # Braces make a cluster keep all of a prefix in one place, as scripts want it.
        self._prefix = f"{{{prefix}}}"
        self._url = url
        self._client = client
        self._scripts: dict[str, Any] = {}

    def read(self, id: str, now: float, /) -> Record | Awaitable[Record | None] | None:
        """The record, or None. Raises what the client raises, ForeignRecordError and ValueError."""
        check_text("the id of a record", id)
        return finish(self._read(id, now))

    def write(
        self,
        id: str,
        value: dict[str, Any],
        now: float,
        /,
        *,
        version: int,
        expires_at: float | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> bool | Awaitable[bool]:
        """Whether it was written.

        Raises what the client raises, ForeignRecordError, RecordValueError and ValueError.
        """
        check_write(id, version, expires_at)
        end, lasts_ms = "", ""
        if expires_at is not None:
            # The server counts from its own clock: it is told how long, never when, and removes what is over somewhat
            # later, as clocks differ. Whether a record is over is decided by ``now`` alone.
            end = repr(float(expires_at))
            lasts_ms = str(int(max(0.0, expires_at - now) * 1000) + KEPT_LONGER_MS)
        found_by = json.dumps(checked_keys(keys))
        text = serialize_value(value)
        arguments = (id, self._prefix, repr(float(now)), version, version + 1, end, lasts_ms, text, found_by)
        return finish(self._change(WRITE, id, *arguments))

    def delete(self, id: str, now: float, /, *, version: int | None = None) -> bool | Awaitable[bool]:
        """Whether it was there and is gone. Raises what the client raises, ForeignRecordError and ValueError."""
        check_text("the id of a record", id)
        seen = "" if version is None else str(version)
        return finish(self._change(DELETE, id, id, self._prefix, repr(float(now)), seen))

    def find(
        self, key: str, value: str, now: float, /, *, limit: int = 100, after: str | None = None
    ) -> RecordPage | Awaitable[RecordPage]:
        """A page of records. Raises what the client raises, ForeignRecordError and ValueError."""
        check_find(key, value, limit, after)
        return finish(self._find(key, value, now, limit, after))

    def close(self) -> None:
        """Close the connections that were made of a ``url``; whatever is asked next makes new ones."""
        if self._url is not None and self._client is not None:
            self._client.close()
            self._client = None
            self._scripts = {}

    def _read(self, id: str, now: float) -> Generator[Any, Any, Record | None]:
        try:
            answer = yield self._connected().hgetall(self._key(id))
        except Exception as error:
            self._explain(error, id)
            raise
        if not answer:
            return None
        fields = {_text(name): _text(field) for name, field in answer.items()}
        record = self._record(id, [fields.get(name) for name in _FIELDS])
        return None if is_over(record.expires_at, now) else record

    def _change(self, script: str, id: str, *arguments: Any) -> Generator[Any, Any, bool]:
        # Clients try again when an answer was lost. By the token the second try knows what the first has done.
        try:
            answer = yield self._script(script)(keys=[self._key(id)], args=[*arguments, os.urandom(12).hex()])
        except Exception as error:
            self._explain(error, id)
            raise
        if answer == _FOREIGN:
            raise foreign_record(id, self._where(), "it lacks what a record has")
        return bool(answer)

    def _find(self, key: str, value: str, now: float, limit: int, after: str | None) -> Generator[Any, Any, RecordPage]:
        records: list[Record] = []
        start = after
        index = f"{self._prefix}:key:{key}:{value}"
        while True:
            wanted = limit + 1 - len(records)
            begin = "-" if start is None else f"({start}"
            arguments = [self._prefix, repr(float(now)), wanted, begin, SCANNED_AT_ONCE, key, value]
            try:
                last, *found = yield self._script(FIND)(keys=[index], args=arguments)
            except Exception as error:
                self._explain(error, f"{key}={value}")
                raise
            records += [self._record(_text(one[0]), [_text(field) for field in one[1:]]) for one in found]
            if len(records) > limit:
                return RecordPage(records[:limit], records[limit - 1].id)
            if not last:
                return RecordPage(records, None)
            start = _text(last)

    def _record(self, id: str, fields: list[str | None]) -> Record:
        text, version, end, keys = fields
        where = self._where()
        value = parse_value(text, id, where)
        try:
            numbers = int(version or ""), float(end) if end else None
        except ValueError:
            raise foreign_record(id, where, "its version or its end is no number") from None
        return Record(id, value, *numbers, parse_value(keys, id, where))

    def _key(self, id: str) -> str:
        return f"{self._prefix}:record:{id}"

    def _where(self) -> str:
        return f"Redis below {self._prefix}:record:"

    def _explain(self, error: Exception, id: str) -> None:
        if "WRONGTYPE" in str(error):
            raise foreign_record(id, self._where(), "it is no hash") from error

    def _script(self, text: str) -> Any:
        script = self._scripts.get(text)
        if script is None:
            script = self._scripts[text] = self._connected().register_script(text)
        return script

    def _connected(self) -> Any:
        if self._client is None:
            self._client = _client(self._url or "")
        return self._client


def _client(url: str) -> Any:
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as problem:
        raise ImportError(
            "records in Valkey or Redis need the package redis, which is missing: pip install 'venturekit[redis]'"
        ) from problem
    # An environment that was frozen for long may find its connections gone without a word: those are tried first.
    return Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 1),
        health_check_interval=30,
    )


def _text(answer: Any) -> Any:
    return answer.decode() if isinstance(answer, bytes) else answer
