"""SnapStart: hooks around the moment a snapshot is taken (AWS: "Lambda SnapStart runtime hooks for Python")."""

from __future__ import annotations

import sys

from .faults import AFTER_RESTORE_ERROR, BEFORE_SNAPSHOT_ERROR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .client import RuntimeApiClient

EXIT_BEFORE_SNAPSHOT = 64
EXIT_AFTER_RESTORE = 65


def run_snapshot_phase(api: RuntimeApiClient, report: Callable[[BaseException], bytes]) -> None:
    """Run the hooks registered with `snapshot_restore_py` and wait for the restore between them.

    `report` logs an exception and gives its error body. Raises SystemExit 64 when a hook before the snapshot fails,
    65 when one after the restore does.
    """
    # Hooks can only have been registered by a function that imported the module.
    hooks = sys.modules.get("snapshot_restore_py")
    try:
        before = hooks.get_before_snapshot() if hooks else []
        while before:
            function, arguments, keywords = before.pop()
            function(*arguments, **keywords)
        api.restore_next()
    except BaseException as error:
        api.post_init_error(report(error), BEFORE_SNAPSHOT_ERROR)
        raise SystemExit(EXIT_BEFORE_SNAPSHOT) from None
    try:
        for function, arguments, keywords in hooks.get_after_restore() if hooks else []:
            function(*arguments, **keywords)
    except BaseException as error:
        api.post_restore_error(report(error), AFTER_RESTORE_ERROR)
        raise SystemExit(EXIT_AFTER_RESTORE) from None
