"""Cross-origin resource sharing as the configuration of a function URL says it. Pure.

Sources: AWS Lambda API reference, "Cors"; Fetch Standard, "HTTP CORS protocol"; the headers of an allowed preflight and
that a function's own ones are sent as well, as published by users. A choice of ours is called one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from venturekit.protocol.cors import ANY, allowed_origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    Lines = list[tuple[bytes, bytes]]

ALLOW_ORIGIN: Final = "access-control-allow-origin"
_VARY: Final = (b"vary", b"Origin")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsRules:
    """The member ``Cors`` of a function URL."""

    allow_credentials: bool = False
    allow_headers: tuple[str, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_origins: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: int | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> CorsRules:
        """The rules of a configuration, in the words of the API."""
        return cls(
            allow_credentials=bool(document.get("AllowCredentials")),
            allow_headers=tuple(document.get("AllowHeaders") or ()),
            allow_methods=tuple(document.get("AllowMethods") or ()),
            allow_origins=tuple(document.get("AllowOrigins") or ()),
            expose_headers=tuple(document.get("ExposeHeaders") or ()),
            max_age=document.get("MaxAge"),
        )

    def response_lines(self, origin: str | None) -> Lines:
        """The headers that are added to a response; none but ``Vary`` for an origin that is not allowed."""
        lines = self._origin_lines(origin)
        if len(lines) > 1 and self.expose_headers:
            lines.append((b"access-control-expose-headers", ",".join(self.expose_headers).encode("latin-1", "replace")))
        return lines

    def preflight_lines(self, origin: str, method: str, headers: str | None) -> Lines:
        """The headers of the answer to a preflight; none but ``Vary`` for an origin that is not allowed."""
        lines = self._origin_lines(origin)
        if len(lines) == 1:
            return lines
        for name, allowed, asked in (
            (b"access-control-allow-headers", self.allow_headers, headers),
            (b"access-control-allow-methods", self.allow_methods, method),
        ):
            text = ",".join(allowed)
            if ANY in allowed and self.allow_credentials:
                # With credentials a star means nothing to a browser (choice: what was asked for is named).
                text = asked or ""
            if text:
                lines.append((name, text.encode("latin-1", "replace")))
        if self.max_age is not None:
            lines.append((b"access-control-max-age", b"%d" % self.max_age))
        return lines

    def _origin_lines(self, origin: str | None) -> Lines:
        lines = [_VARY]
        allowed = None
        if origin is not None:
            allowed = allowed_origin(origin, self.allow_origins, credentials=self.allow_credentials)
        if allowed is not None:
            lines.append((ALLOW_ORIGIN.encode(), allowed.encode("latin-1", "replace")))
            if self.allow_credentials:
                lines.append((b"access-control-allow-credentials", b"true"))
        return lines
