"""Every error the control plane of functions answers with, in AWS's words.

The one module here that knows how the edge of the API builds errors. Texts without another source are recorded
answers of AWS Lambda; those that only this service gives say what to do instead.
"""

from __future__ import annotations

from typing import Final

from venturekit.service.api.errors import ApiError, api_error

BAD_ZIP: Final = "Could not unzip uploaded file. Please check your file, then try to upload again."


def invalid_parameter(message: str, *, type_: str | None = "User") -> ApiError:
    """400 InvalidParameterValueException; the alias-routing ones carry no ``Type``."""
    return api_error("InvalidParameterValueException", message, type=type_)


def resource_not_found(message: str) -> ApiError:
    """404 ResourceNotFoundException."""
    return api_error("ResourceNotFoundException", message)


def function_not_found(arn: str) -> ApiError:
    """404 for a function, version or alias; ``arn`` carries the qualifier when one was asked for."""
    return resource_not_found(f"Function not found: {arn}")


def alias_not_found(arn: str) -> ApiError:
    """404 of the alias operations; ``arn`` is the alias's ARN."""
    return resource_not_found(f"Cannot find alias arn: {arn}")


def another_region(region: str, own_region: str) -> ApiError:
    """404 for an ARN of a region that is not served here."""
    return resource_not_found(f"Functions from '{region}' are not reachable in this region ('{own_region}')")


def another_account() -> ApiError:
    """403 for an ARN of another account; AWS answers ``{"Message": null}`` and says nothing more."""
    return api_error("AccessDeniedException", None, type=None)


def conflict(message: str) -> ApiError:
    """409 ResourceConflictException."""
    return api_error("ResourceConflictException", message)


def function_exists(name: str) -> ApiError:
    """409 of CreateFunction for a name that is taken."""
    return conflict(f"Function already exist: {name}")


def not_in_this_state(state: str) -> ApiError:
    """409 for a function that is Pending, Failed, ..."""
    return conflict(
        f"The operation cannot be performed at this time. The function is currently in the following state: {state}"
    )


def update_in_progress(arn: str) -> ApiError:
    """409 while a former update of the function has not finished."""
    return conflict(
        f"The operation cannot be performed at this time. An update is in progress for resource: {arn}",
    )


def revision_mismatch() -> ApiError:
    """412 for a ``RevisionId`` that is not the current one."""
    return api_error(
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. "
        "Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
    )


def zip_too_large(message: str) -> ApiError:
    """413 for an archive over the limit; recorded without ``Type``."""
    return api_error("RequestEntityTooLargeException", message, type=None)


def failed_validation(value: object, member: str, constraint: str) -> ApiError:
    """400 ValidationException for one member, in the grammar of the model's own constraints."""
    return api_error("ValidationException", constraint_text(value, member, constraint), type=None)


def constraint_text(value: object, member: str, constraint: str) -> str:
    """AWS's sentence for one violated constraint."""
    return (
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must "
        f"{constraint}"
    )


def not_served(member: str, advice: str) -> ApiError:
    """400 for a member this service does not act on: refused, because ignoring it would look like success."""
    return invalid_parameter(f"{member} is not supported by this service: {advice}")


def store_unavailable(reason: str) -> ApiError:
    """500 when a change could not be made durable; nothing was changed."""
    return api_error("ServiceException", f"The change was not made: {reason}", type="Service")
