"""The states of a version and how it comes from one to the next. Pure: identities and times are arguments.

Source: AWS Lambda Developer Guide, "Lambda function states"; texts as recorded.
"""

from __future__ import annotations

from dataclasses import replace

from venturekit.service.functions.records import (
    SNAP_START_NONE,
    STATE_ACTIVE,
    STATE_ACTIVE_NON_INVOCABLE,
    STATE_FAILED,
    STATE_PENDING,
    UPDATE_FAILED,
    UPDATE_IN_PROGRESS,
    UPDATE_SUCCESSFUL,
    FunctionVersion,
)

_REASON = "The function is being created."
_CODE = "Creating"
_FAILURE_CODE = "InternalError"


def created(version: FunctionVersion) -> FunctionVersion:
    """A new version, Pending until it is activated."""
    return replace(
        version,
        state=STATE_PENDING,
        state_reason=_REASON,
        state_reason_code=_CODE,
        last_update_status=None,
        last_update_status_reason=None,
        last_update_status_reason_code=None,
    )


def updating(version: FunctionVersion) -> FunctionVersion:
    """A changed version: its update is in progress; one that had failed starts over."""
    if version.state not in (STATE_ACTIVE, STATE_ACTIVE_NON_INVOCABLE):
        return created(version)
    # AWS gives the words of a creation for an update too.
    return replace(
        version,
        last_update_status=UPDATE_IN_PROGRESS,
        last_update_status_reason=_REASON,
        last_update_status_reason_code=_CODE,
    )


def is_unsettled(version: FunctionVersion) -> bool:
    """Whether an activation is due."""
    return version.state == STATE_PENDING or version.last_update_status == UPDATE_IN_PROGRESS


def settled(
    version: FunctionVersion, *, revision_id: str, failure: str | None, state: str = STATE_ACTIVE
) -> FunctionVersion:
    """An unsettled version after its activation, in ``state``; ``failure`` says why that did not succeed."""
    first = version.state == STATE_PENDING
    if failure is None:
        return replace(
            version,
            state=state,
            state_reason=None,
            state_reason_code=None,
            last_update_status=UPDATE_SUCCESSFUL,
            last_update_status_reason=None,
            last_update_status_reason_code=None,
            revision_id=revision_id,
        )
    return replace(
        version,
        state=STATE_FAILED if first else version.state,
        state_reason=failure if first else version.state_reason,
        state_reason_code=_FAILURE_CODE if first else version.state_reason_code,
        last_update_status=UPDATE_FAILED,
        last_update_status_reason=failure,
        last_update_status_reason_code=_FAILURE_CODE,
        revision_id=revision_id,
    )


def published(latest: FunctionVersion, version: str, *, description: str | None, identity: str) -> FunctionVersion:
    """The version made of ``$LATEST``, a number as a rule; its revision id is its own and equals nothing else.

    It is what ``$LATEST`` is, Active for the most part; with SnapStart it begins Pending, as on AWS, where the snapshot
    is made meanwhile. So does one of a managed function, whose environments AWS starts meanwhile.
    """
    made = replace(
        latest,
        version=version,
        description=latest.description if description is None else description,
        published_from=latest.fingerprint(),
        identity=identity,
    )
    return created(made) if latest.is_managed or latest.snap_start_apply_on != SNAP_START_NONE else made
