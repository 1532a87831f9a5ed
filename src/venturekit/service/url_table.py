"""What the front process serves, as it knows it: the function URLs of all accounts, and the WebSocket APIs.

A table with a revision for every change. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from venturekit.service.functions.settings import URL_CONFIGS, qualified_settings
from venturekit.service.functions.urls import BUFFERED, url_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from venturekit.service.functions.registry import FunctionRegistry

PAGE_ENTRIES: Final = 500
REMOVED_LIMIT: Final = 1000
"""How many URLs that are gone are remembered: who was away for more of them reads the table anew."""
PUBLIC: Final = "NONE"

Entry = dict[str, Any]


class UrlTable:
    """All URLs by id. ``public_refusal(function_arn)`` tells why a URL without authorization lets nobody in, or None.

    ``changed`` is called after every change that somebody who reads the table should hear of.
    """

    def __init__(self, public_refusal: Callable[[str], str | None]) -> None:
        self._public_refusal = public_refusal
        self._entries: dict[str, Entry] = {}
        # The revision of the last change of each, oldest first; those that are gone remain for a while.
        self._revisions: dict[str, int] = {}
        self._removed: dict[str, None] = {}
        self._of_function: dict[tuple[str, str], tuple[str, ...]] = {}
        # Changes up to this one cannot all be told any more.
        self._forgotten = 0
        self.revision = 0
        self.changed: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, identifier: str) -> Mapping[str, Any] | None:
        """The function URL with this id, or None."""
        entry = self._entries.get(identifier)
        return None if entry is None or "kind" in entry else entry

    def function_changed(self, registry: FunctionRegistry, name: str) -> None:
        """A function may have other URLs now, or none, or be open to others than before."""
        before = self.revision
        key = registry.account_id, name
        former = self._of_function.pop(key, ())
        current = {entry["id"]: entry for entry in self._entries_of(registry, name)}
        for identifier in former:
            if identifier not in current:
                self._remove(identifier)
        for identifier, entry in current.items():
            if self._entries.get(identifier) != entry:
                self._put(identifier, entry)
        if current:
            self._of_function[key] = tuple(current)
        if self.revision != before:
            self.changed()

    def put(self, entry: Entry) -> None:
        """Something with an ``id`` and a ``kind``, which function URLs have not, is new or has changed."""
        if self._entries.get(entry["id"]) != entry:
            self._put(entry["id"], entry)
            self.changed()

    def remove(self, identifier: str) -> None:
        """What was put with this id is gone."""
        if identifier in self._entries:
            self._remove(identifier)
            self.changed()

    def page(self, after: int) -> dict[str, Any]:
        """What has changed since the revision ``after``, 0 for everything: the document that the front process reads.

        ``reset`` tells that it must forget what it knows; ``more`` that it should ask again at once.
        """
        reset = after > self.revision or 0 < after < self._forgotten
        start = 0 if reset else after
        urls: list[Entry] = []
        removed: list[Entry] = []
        revision = start
        for identifier in self._since(start):
            revision = self._revisions[identifier]
            entry = self._entries.get(identifier)
            if entry is not None:
                urls.append({**entry, "revision": revision})
            elif start:
                removed.append({"id": identifier, "revision": revision})
            if len(urls) + len(removed) >= PAGE_ENTRIES:
                break
        else:
            revision = self.revision
        more = revision < self.revision
        return {"revision": revision, "reset": reset, "more": more, "urls": urls, "removed": removed}

    def _since(self, revision: int) -> Iterator[str]:
        """The ids that have changed after a revision, the oldest change first."""
        newer = []
        for identifier in reversed(self._revisions):
            if self._revisions[identifier] <= revision:
                break
            newer.append(identifier)
        return reversed(newer)

    def _entries_of(self, registry: FunctionRegistry, name: str) -> Iterator[Entry]:
        if name not in registry:
            return
        for qualifier, config in qualified_settings(registry.function(name), URL_CONFIGS).items():
            arn = registry.arn(name, qualifier or None)
            refusal = self._public_refusal(arn) if config["AuthType"] == PUBLIC else None
            yield {
                "id": url_id(registry.account_id, name, qualifier),
                "accountId": registry.account_id,
                "functionName": name,
                "qualifier": qualifier or None,
                "functionArn": arn,
                "authType": config["AuthType"],
                "invokeMode": config.get("InvokeMode", BUFFERED),
                "cors": config.get("Cors"),
                "publicAllowed": config["AuthType"] == PUBLIC and refusal is None,
                "refusal": refusal,
            }

    def _put(self, identifier: str, entry: Entry) -> None:
        self._entries[identifier] = entry
        self._removed.pop(identifier, None)
        self._note(identifier)

    def _remove(self, identifier: str) -> None:
        del self._entries[identifier]
        self._removed[identifier] = None
        self._note(identifier)
        if len(self._removed) > REMOVED_LIMIT:
            oldest = next(iter(self._removed))
            del self._removed[oldest]
            self._forgotten = max(self._forgotten, self._revisions.pop(oldest))

    def _note(self, identifier: str) -> None:
        self._revisions.pop(identifier, None)
        self.revision += 1
        self._revisions[identifier] = self.revision
