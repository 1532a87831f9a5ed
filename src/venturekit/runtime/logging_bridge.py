"""Records of the standard library's ``logging`` through a logger of ours: same form, same ids, same redaction."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from venturekit.runtime.logs import logger as default_logger

if TYPE_CHECKING:
    from venturekit.runtime.logs import Logger

_LEVELS: Final = ((50, "fatal"), (40, "error"), (30, "warn"), (20, "info"), (10, "debug"), (0, "trace"))
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "aws_request_id"}
"""What every record has, or gets on its way: everything else was given as ``extra``."""


class BridgeHandler(logging.Handler):
    """A handler of ``logging`` that writes through a logger of ours."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record: its ``extra`` becomes fields, its logger's name the field ``logger``."""
        try:
            level = next((name for least, name in _LEVELS if record.levelno >= least), "trace")
            fields: dict[str, Any] = {"logger": record.name}
            fields |= {name: value for name, value in vars(record).items() if name not in _OWN}
            error = record.exc_info[1] if record.exc_info else None
            self._logger.log(level, record.getMessage(), fields, error=error)
        except Exception:
            self.handleError(record)


def bridge_logging(logger: Logger | None = None) -> None:
    """Have ``logging`` write through a logger, the default one unless it is given; once, where the function starts::

        bridge_logging()
        logging.getLogger("orders").warning("slow", extra={"seconds": 3})

    Takes the place of the handlers that the root logger has, the runtime's own included, so that nothing is written
    twice. The root's level becomes the logger's.
    """
    chosen = default_logger if logger is None else logger
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(BridgeHandler(chosen))
    root.setLevel(chosen.level_number)
