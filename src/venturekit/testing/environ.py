"""What the tests' own process hands to a service that it starts: the only place here that knows the environment."""

from __future__ import annotations

import os
from typing import Final

_OURS: Final = "VENTUREKIT_"


def service_variables() -> dict[str, str]:
    """The variables of this process, less the settings of a service: those are a test's to give."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
