"""One keep-alive connection to the Runtime API: bytes out in one write, responses in."""

from __future__ import annotations

# The C module alone: `socket` costs three milliseconds more for nothing that is used here.
import _socket

from .faults import ApiGoneError, ConnectionLostError, ProtocolError
from .http1 import MAXIMUM_BODY_BYTES, MAXIMUM_HEAD_BYTES, ResponseHead, parse_chunk_size, parse_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_RECEIVE_BYTES = 65536
_CONNECT_TIMEOUT_SECONDS = 5.0


def split_address(address: str) -> tuple[str, int]:
    """`host:port` (also `[::1]:port`) as a pair. Raises ProtocolError when it is neither."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ProtocolError(f"AWS_LAMBDA_RUNTIME_API is {address!r}; it must be host:port, such as 127.0.0.1:9001")
    return host.strip("[]"), int(port)


class Connection:
    """A socket and the bytes that were read past the last response."""

    __slots__ = ("_buffer", "_head", "_head_block", "_host", "_port", "_socket")

    def __init__(self, address: str) -> None:
        self._host, self._port = split_address(address)
        self._socket: _socket.socket | None = None
        self._buffer = b""
        self._head_block = b""
        self._head: ResponseHead | None = None

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def open(self) -> None:
        """Connect. Raises ConnectionLostError."""
        self.close()
        family = _socket.AF_INET6 if ":" in self._host else _socket.AF_INET
        connecting = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            connecting.settimeout(_CONNECT_TIMEOUT_SECONDS)
            connecting.connect((self._host, self._port))
            connecting.settimeout(None)
            connecting.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        except OSError as error:
            connecting.close()
            raise ConnectionLostError(
                f"no connection to the Runtime API at {self._host}:{self._port}: {error}"
            ) from None
        self._socket = connecting

    def close(self) -> None:
        """Close; unread bytes are dropped."""
        self._buffer = b""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def limit_waiting(self, limit_seconds: float) -> None:
        """Let no operation of the open connection wait longer; one that would raises ConnectionLostError."""
        assert self._socket is not None
        self._socket.settimeout(limit_seconds)

    def send(self, data: bytes) -> None:
        """Send all of `data`. Raises ConnectionLostError."""
        assert self._socket is not None
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise ConnectionLostError(f"sending to the Runtime API failed: {error}") from None

    def send_now(self, parts: Sequence[bytes | memoryview], counts: list[int]) -> None:
        """Send what can be sent without waiting; `counts` gets how many bytes that was. Raises ConnectionLostError."""
        if self._socket is None:
            raise ConnectionLostError("the connection to the Runtime API is closed")
        try:
            # One call, at whose end the number is noted: a signal's handler that raises runs before or behind it. If it
            # came between the sending and the noting, nobody could tell how much is out.
            counts.extend(map(self._socket.sendmsg, (parts,), ((),), (_socket.MSG_DONTWAIT,)))
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno is None:
                # Not the socket's, which has a number: a signal's handler has raised it, TimeoutError for one.
                raise
            raise ConnectionLostError(f"sending to the Runtime API failed: {error}") from None

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor; -1 when there is none."""
        return -1 if self._socket is None else self._socket.fileno()

    def read_response(self) -> tuple[ResponseHead, bytes | bytearray]:
        """The next final response and its body.

        Raises ConnectionLostError (ApiGoneError when not even a first byte came) and ProtocolError.
        """
        head = self._read_head()
        while head.status < 200:
            head = self._read_head()
        if head.chunked:
            return head, self._read_chunked()
        if head.status in (204, 304):
            return head, b""
        length = head.content_length
        if length is None:
            return head, self._read_until_closed()
        if length <= len(self._buffer):
            body: bytes | bytearray = self._buffer[:length]
            self._buffer = self._buffer[length:]
            return head, body
        return head, self._read_exactly(length)

    def _receive(self) -> bytes:
        assert self._socket is not None
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except OSError as error:
            raise ConnectionLostError(f"receiving from the Runtime API failed: {error}") from None
        if not data:
            raise ConnectionLostError("the Runtime API closed the connection")
        return data

    def _receive_first(self) -> bytes:
        try:
            return self._receive()
        except ConnectionLostError as error:
            raise ApiGoneError(str(error)) from None

    def _read_head(self) -> ResponseHead:
        buffer = self._buffer or self._receive_first()
        end = buffer.find(b"\r\n\r\n")
        while end < 0:
            if len(buffer) > MAXIMUM_HEAD_BYTES:
                raise ProtocolError(f"a response head of more than {MAXIMUM_HEAD_BYTES} bytes")
            self._buffer = buffer
            searched = max(0, len(buffer) - 3)
            buffer += self._receive()
            end = buffer.find(b"\r\n\r\n", searched)
        self._buffer = buffer[end + 4 :]
        block = buffer[:end]
        # Acknowledgements are the same bytes every time; the head is never changed once it is parsed.
        if block == self._head_block and self._head is not None:
            return self._head
        head = parse_head(block)
        if head.status == 202:
            self._head_block, self._head = block, head
        return head

    def _read_exactly(self, size_bytes: int) -> bytearray:
        assert self._socket is not None
        body = bytearray(size_bytes)
        filled = min(size_bytes, len(self._buffer))
        body[:filled] = self._buffer[:filled]
        self._buffer = self._buffer[filled:]
        with memoryview(body) as view:
            while filled < size_bytes:
                try:
                    received = self._socket.recv_into(view[filled:])
                except OSError as error:
                    raise ConnectionLostError(f"receiving from the Runtime API failed: {error}") from None
                if not received:
                    raise ConnectionLostError(
                        f"the Runtime API closed the connection {size_bytes - filled} bytes too early"
                    )
                filled += received
        return body

    def _read_line(self) -> bytes:
        while True:
            line, ending, rest = self._buffer.partition(b"\r\n")
            if ending:
                self._buffer = rest
                return line
            if len(self._buffer) > MAXIMUM_HEAD_BYTES:
                raise ProtocolError("a line without an end in a chunked body")
            self._buffer += self._receive()

    def _read_chunked(self) -> bytearray:
        body = bytearray()
        while True:
            size_bytes = parse_chunk_size(self._read_line())
            if size_bytes == 0:
                break
            body += self._read_exactly(size_bytes)
            if self._read_line():
                raise ProtocolError("a chunk is longer than it says")
            if len(body) > MAXIMUM_BODY_BYTES:
                raise ProtocolError(f"a body of more than {MAXIMUM_BODY_BYTES} bytes")
        while self._read_line():
            pass
        return body

    def _read_until_closed(self) -> bytearray:
        assert self._socket is not None
        body = bytearray(self._buffer)
        self._buffer = b""
        while len(body) <= MAXIMUM_BODY_BYTES:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except OSError as error:
                raise ConnectionLostError(f"receiving from the Runtime API failed: {error}") from None
            if not data:
                return body
            body += data
        raise ProtocolError(f"a body of more than {MAXIMUM_BODY_BYTES} bytes")
