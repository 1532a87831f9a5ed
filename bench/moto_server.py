"""Moto's server for the bench. Usage: moto_server.py PORT.

Moto takes a message away by making its list of messages anew, without a lock: of two threads that delete at once one
brings back what the other has deleted, and it would look as if the service had left messages in the queue.
"""

from __future__ import annotations

import sys
import threading

from moto.server import main
from moto.sqs.models import Queue


def serve(port: str) -> None:
    """Serve until the end of the process; of each queue one message is deleted at a time."""
    lock, delete = threading.Lock(), Queue.delete_message

    def delete_message(queue: Queue, receipt_handle: str) -> None:
        with lock:
            delete(queue, receipt_handle)

    Queue.delete_message = delete_message  # type: ignore[method-assign]
    main(["-H", "127.0.0.1", "-p", port])


if __name__ == "__main__":
    serve(sys.argv[1])
