"""What a log holds: records, most of which are rendered when somebody reads them. Pure."""

from __future__ import annotations

from venturekit.service.environments import platform_events
from venturekit.service.environments.platform_lines import Report, end_line, report_line, start_line

# What a record holds beside time and stream: the text, or the platform's figures, as a flat tuple of plain values:
# the garbage collector lets go of such tuples for good, and twenty thousand of them cost it nothing.
Started = tuple[bytes, bytes]
"""A START line, not rendered yet: request id and version."""
Ended = tuple[bytes]
"""An END line, not rendered yet: request id."""
Reported = tuple[bytes, float, int, int, "float | None"]
"""The REPORT line of an invocation that ended well, not rendered yet: the first five fields of Report."""
JsonStarted = tuple[bytes, bytes, bytes]
"""The ``platform.start`` of the JSON format, not rendered yet: request id, version and the function's ARN."""
JsonReported = tuple[bytes, float, int, int, "float | None", str, str]
"""The ``platform.report`` of the JSON format, not rendered yet: the fields of Report."""
Message = bytes | Started | Ended | Reported | JsonStarted | JsonReported
Record = tuple[float, str, Message]
KeptRecord = tuple[float, str, bytes]
"""A record as earlier services have kept it: time, stream and text."""


def render(timestamp: float, message: Message) -> bytes:
    """The text of a record that was written at ``timestamp``."""
    if isinstance(message, bytes):
        return message
    if len(message) == 1:
        return end_line(*message)
    if len(message) == 2:
        return start_line(*message)
    if len(message) == 3:
        return platform_events.event_line("platform.start", timestamp, platform_events.start(*message))
    if len(message) == 5:
        return report_line(Report(*message))
    return platform_events.event_line("platform.report", timestamp, platform_events.report(Report(*message)))
