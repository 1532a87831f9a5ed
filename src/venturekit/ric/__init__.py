"""The runtime interface client: the loop inside a Python execution environment.

It imports a function's handler, asks the Runtime API for events, calls the handler and posts what it returned or
raised, with the observable behaviour of AWS's own client for Python. It needs nothing but the standard library of
CPython 3.9 or later, because it is loaded by the function's interpreter, not by the service's.

Two entry points: `run` is the whole life of an execution environment; `preload` imports beforehand, for a fork server,
what `run` would import later.
"""

from __future__ import annotations

from .bootstrap import preload, run

__all__ = ["preload", "run"]
