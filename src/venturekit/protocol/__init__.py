"""What both sides of the wire speak: names, signatures, trace headers. Pure: standard library, no I/O, no clock.

Import the modules themselves; this package imports none of them, so that each costs only what it needs.
"""

from __future__ import annotations
