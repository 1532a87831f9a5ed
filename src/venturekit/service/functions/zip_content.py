"""The content of zip entries, inflated in bounded pieces."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from venturekit.service.functions.zip_format import DEFLATED, ArchiveError, Buffer, RawEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK_BYTES: Final = 256 * 1024


def inflated(archive: Buffer, raw: RawEntry) -> Iterator[bytes]:
    """The content of an entry in pieces; never more than declared, and its CRC must be right."""
    crc = size = 0
    pieces = _deflated_pieces(archive, raw) if raw.method == DEFLATED else _stored_pieces(archive, raw)
    for piece in pieces:
        size += len(piece)
        if size > raw.size_bytes:
            raise ArchiveError(f"entry {raw.name!r} unpacks to more than it declares", "hostile")
        crc = zlib.crc32(piece, crc)
        yield piece
    if size != raw.size_bytes:
        raise ArchiveError(f"entry {raw.name!r} unpacks to less than it declares")
    if crc != raw.crc32:
        raise ArchiveError(f"entry {raw.name!r} has a wrong checksum")


def _stored_pieces(archive: Buffer, raw: RawEntry) -> Iterator[bytes]:
    for position in range(raw.data_start, raw.data_end, _CHUNK_BYTES):
        yield bytes(archive[position : min(position + _CHUNK_BYTES, raw.data_end)])


def _deflated_pieces(archive: Buffer, raw: RawEntry) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    position = raw.data_start
    pending = b""
    while not inflater.eof:
        if not pending and position < raw.data_end:
            pending = bytes(archive[position : min(position + _CHUNK_BYTES, raw.data_end)])
            position += len(pending)
        # With no input left there may still be output inside the inflater, so only silence means the end.
        exhausted = not pending
        try:
            piece = inflater.decompress(pending, _CHUNK_BYTES)
        except zlib.error as error:
            raise ArchiveError(f"the data of entry {raw.name!r} is damaged: {error}") from error
        pending = inflater.unconsumed_tail
        if piece:
            yield piece
        elif exhausted and not inflater.eof:
            raise ArchiveError(f"the data of entry {raw.name!r} ends too early")
    if inflater.unused_data or position < raw.data_end:
        raise ArchiveError(f"entry {raw.name!r} has data after its end", "hostile")
