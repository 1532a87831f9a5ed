"""The function URLs and WebSocket APIs, as the front process knows them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.front.cors import CorsRules
from venturekit.front.websocket_api import KIND, WebSocketApi
from venturekit.front.websocket_ids import api_tag

if TYPE_CHECKING:
    from collections.abc import Mapping

IAM: Final = "AWS_IAM"
RESPONSE_STREAM: Final = "RESPONSE_STREAM"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionUrl:
    """One function URL. ``refusal`` says why it lets nobody in that is not authorized."""

    id: str
    account_id: str
    function_arn: str
    needs_signature: bool
    streams: bool
    cors: CorsRules | None
    public_allowed: bool
    refusal: str | None
    revision: int

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> FunctionUrl:
        """The URL in an entry of the service's table."""
        cors = document["cors"]
        return cls(
            id=document["id"],
            account_id=document["accountId"],
            function_arn=document["functionArn"],
            needs_signature=document["authType"] == IAM,
            streams=document["invokeMode"] == RESPONSE_STREAM,
            cors=CorsRules.of(cors) if cors else None,
            public_allowed=document["publicAllowed"],
            refusal=document["refusal"],
            revision=document["revision"],
        )


class UrlTable:
    """All function URLs and WebSocket APIs by id, kept current by pages of the service's table.

    Its length is the number of function URLs.
    """

    def __init__(self) -> None:
        self._urls: dict[str, FunctionUrl] = {}
        self._apis: dict[str, WebSocketApi] = {}
        self.revision = 0

    def __len__(self) -> int:
        return len(self._urls)

    def find(self, url_id: str) -> FunctionUrl | None:
        """The URL with this id, or None."""
        return self._urls.get(url_id)

    def websocket_api(self, api_id: str) -> WebSocketApi | None:
        """The WebSocket API with this id, or None."""
        return self._apis.get(api_id)

    def websocket_api_with(self, tag: bytes | None) -> WebSocketApi | None:
        """The WebSocket API whose connections have this tag in their ids, or None."""
        return next((api for api in self._apis.values() if api_tag(api.id) == tag), None)

    @property
    def websocket_apis(self) -> int:
        """How many WebSocket APIs there are."""
        return len(self._apis)

    def apply(self, page: Mapping[str, Any]) -> None:
        """Take over what has changed. A page that was overtaken by a later one changes nothing."""
        if page["reset"]:
            self._urls.clear()
            self._apis.clear()
        elif page["revision"] <= self.revision:
            return
        for document in page["urls"]:
            if document.get("kind") == KIND:
                self._apis[document["id"]] = WebSocketApi.of(document)
            else:
                self._urls[document["id"]] = FunctionUrl.of(document)
        for document in page["removed"]:
            self._urls.pop(document["id"], None)
            self._apis.pop(document["id"], None)
        self.revision = page["revision"]
