"""Why something that is owed was not delivered. The text says what happened, and what to do where that is known.

DeliveryError
├── NoEndpointError            nobody has said where such targets are: it waits until the service is started again
├── TargetFailedError          the target takes nothing now: it cannot be reached, throttles, is gone, or is not allowed
└── MessageRefusedError        the target took offence at this one message
    └── MessageTooLargeError   it was too large; a smaller form of it may pass
"""

from __future__ import annotations


class DeliveryError(Exception):
    """Base of all these."""


class NoEndpointError(DeliveryError):
    """No address is known for targets of this kind."""


class TargetFailedError(DeliveryError):
    """Another message would fare no better at the moment."""


class MessageRefusedError(DeliveryError):
    """Another message may well be taken."""


class MessageTooLargeError(MessageRefusedError):
    """More than the target takes."""
