"""The process of a service that a test has started: ``vk serve``, until its standard input ends.

The kernel closes that when the test's process is gone, however it went: no service is left behind.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from venturekit.cli import main


def end_with_input() -> None:
    """Wait for the end of the standard input, and then ask this process to end."""
    # Not sys.stdin: its lock would still be held when the interpreter ends.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, name="venturekit-input", daemon=True).start()
    sys.exit(main())
