"""The control plane of functions: what exists, under which names, and how it changes.

Memory (``registry``) is what invocations read; it is loaded from the store and changes only after a commit.
One module per resource holds the operations: ``functions``, ``code``, ``versions``, ``aliases``.
"""

from __future__ import annotations
