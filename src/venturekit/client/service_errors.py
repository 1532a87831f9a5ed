"""A class for each error that the service answers with, named by the code that stands for it on the wire.

The tree is drawn in ``errors.py``. Sources: the botocore model ``lambda/2015-03-31``; AWS Lambda API reference, "Common
Error Types".
"""

from __future__ import annotations

from typing import Final

from venturekit.client.errors import LambdaServiceException, SignatureError, ThrottledError


class AliasLimitExceededException(LambdaServiceException):
    """The function has as many aliases as it may have."""


class CallbackTimeoutException(LambdaServiceException):
    """A callback of a durable execution came too late."""


class CapacityProviderLimitExceededException(LambdaServiceException):
    """The account has as many capacity providers as it may have."""


class CodeArtifactUserDeletedException(LambdaServiceException):
    """The user who owns the code artifact was deleted."""


class CodeArtifactUserFailedException(LambdaServiceException):
    """The user who owns the code artifact could not be made."""


class CodeArtifactUserPendingException(LambdaServiceException):
    """The user who owns the code artifact is still being made."""

    is_transient = True


class CodeSigningConfigNotFoundException(LambdaServiceException):
    """There is no such code signing configuration."""


class CodeStorageExceededException(LambdaServiceException):
    """The account's code takes more room than it may."""


class CodeVerificationFailedException(LambdaServiceException):
    """The code's signature did not pass its code signing configuration."""


class DurableExecutionAlreadyStartedException(LambdaServiceException):
    """A durable execution of this name has begun with another payload."""


class EC2AccessDeniedException(LambdaServiceException):
    """The function's role may not set up its network."""


class EC2ThrottledException(ThrottledError):
    """The network could not be set up, for the account asks too often."""


class EC2UnexpectedException(LambdaServiceException):
    """The network could not be set up."""


class EFSIOException(LambdaServiceException):
    """The file system could not be read or written."""


class EFSMountConnectivityException(LambdaServiceException):
    """The file system could not be reached."""

    is_transient = True


class EFSMountFailureException(LambdaServiceException):
    """The file system could not be mounted: its permissions or its configuration."""


class EFSMountTimeoutException(LambdaServiceException):
    """The file system was not mounted in time."""

    is_transient = True


class ENILimitReachedException(LambdaServiceException):
    """The account has as many network interfaces as it may have."""


class ENINotReadyException(LambdaServiceException):
    """The network interface is not ready yet."""

    is_transient = True


class FunctionVersionsPerCapacityProviderLimitExceededException(LambdaServiceException):
    """The capacity provider has as many function versions as it may have."""


class InvalidCodeSignatureException(LambdaServiceException):
    """The signature of the code is not valid."""


class InvalidParameterValueException(LambdaServiceException):
    """A parameter has a value that the operation does not take."""


class InvalidRequestContentException(LambdaServiceException):
    """The payload is not JSON, or a header of the request is malformed."""


class InvalidRuntimeException(LambdaServiceException):
    """The runtime is not known."""


class InvalidSecurityGroupIDException(LambdaServiceException):
    """The security group does not exist."""


class InvalidSubnetIDException(LambdaServiceException):
    """The subnet does not exist."""


class InvalidZipFileException(LambdaServiceException):
    """The code archive could not be unpacked."""


class KMSAccessDeniedException(LambdaServiceException):
    """The key of the environment variables may not be used."""


class KMSDisabledException(LambdaServiceException):
    """The key of the environment variables is disabled."""


class KMSInvalidStateException(LambdaServiceException):
    """The key of the environment variables is in no state to be used."""


class KMSNotFoundException(LambdaServiceException):
    """The key of the environment variables was not found."""


class ModeNotSupportedException(LambdaServiceException):
    """The function cannot be invoked in this way."""


class NoPublishedVersionException(LambdaServiceException):
    """The function has no published version."""


class PolicyLengthExceededException(LambdaServiceException):
    """The policy would be longer than it may be."""


class PreconditionFailedException(LambdaServiceException):
    """The revision that was named is not the latest any more."""


class ProvisionedConcurrencyConfigNotFoundException(LambdaServiceException):
    """The function has no such provisioned concurrency."""


class PublicPolicyException(LambdaServiceException):
    """The policy would open the resource to everybody, which the account forbids."""


class RecursiveInvocationException(LambdaServiceException):
    """The function has called itself too often in one chain of requests."""


class RequestTooLargeException(LambdaServiceException):
    """The payload is larger than an invocation takes."""


class ResourceConflictException(LambdaServiceException):
    """The resource exists already, or is being changed."""


class ResourceInUseException(LambdaServiceException):
    """The resource is in use."""


class ResourceNotFoundException(LambdaServiceException):
    """There is no such function, version, alias or other resource."""


class ResourceNotReadyException(LambdaServiceException):
    """The function is idle, and its network is being set up again."""

    is_transient = True


class RuntimeAliasDeletedException(LambdaServiceException):
    """The alias of the runtime was deleted."""


class RuntimeVersionDeletedException(LambdaServiceException):
    """The version of the runtime was deleted."""


class S3FilesMountConnectivityException(LambdaServiceException):
    """The S3 file system could not be reached."""

    is_transient = True


class S3FilesMountFailureException(LambdaServiceException):
    """The S3 file system could not be mounted: its permissions or its configuration."""


class S3FilesMountTimeoutException(LambdaServiceException):
    """The S3 file system was not mounted in time."""

    is_transient = True


class SerializedRequestEntityTooLargeException(LambdaServiceException):
    """The request that is sent to the function is larger than it takes."""


class ServiceException(LambdaServiceException):
    """The service has failed."""


class ServiceQuotaExceededException(LambdaServiceException):
    """A quota of the account is used up."""


class SnapStartException(LambdaServiceException):
    """The runtime hooks of the snapshot have failed."""


class SnapStartNotReadyException(LambdaServiceException):
    """The snapshot is still being made: later it can be invoked."""

    is_transient = True


class SnapStartRegenerationFailureException(LambdaServiceException):
    """The snapshot could not be made anew."""


class SnapStartTimeoutException(LambdaServiceException):
    """The snapshot was not restored in time."""


class SubnetIPAddressLimitReachedException(LambdaServiceException):
    """The subnet has no address left."""


class TooManyRequestsException(ThrottledError):
    """The function, the account or the caller has used up its concurrency or rate: ``reason`` says which."""


class UnsupportedMediaTypeException(LambdaServiceException):
    """The Content-Type of the request is not taken."""


class AccessDeniedException(LambdaServiceException):
    """The caller may not do this: no policy allows it."""


class InternalFailure(LambdaServiceException):
    """The service has failed, outside of Lambda's own code."""


class MalformedHttpRequestException(LambdaServiceException):
    """The request could not be read as HTTP."""


class NotAuthorized(LambdaServiceException):
    """The caller may not do this."""


class OptInRequired(LambdaServiceException):
    """The account has not subscribed to the service."""


class RequestAbortedException(LambdaServiceException):
    """The request ended before it was whole."""


class RequestEntityTooLargeException(LambdaServiceException):
    """The payload is larger than the operation takes."""


class RequestTimeoutException(LambdaServiceException):
    """The request did not arrive in time."""

    is_transient = True


class ServiceUnavailable(LambdaServiceException):
    """The service does not answer now."""


class ThrottlingException(ThrottledError):
    """The caller asks too often."""


class UnknownOperationException(LambdaServiceException):
    """There is no such operation."""


class ValidationException(LambdaServiceException):
    """A parameter breaks a constraint of the model."""


class ExpiredTokenException(SignatureError):
    """The session token has expired."""


class IncompleteSignature(SignatureError):
    """The signature lacks a part."""


class IncompleteSignatureException(SignatureError):
    """The signature lacks a part."""


class InvalidSignatureException(SignatureError):
    """The signature is not the one that the service computes: secret key, clock or region."""


class MissingAuthenticationTokenException(SignatureError):
    """The request was not signed, and has to be."""


class RequestExpired(SignatureError):
    """The request was signed too long ago."""


class UnrecognizedClientException(SignatureError):
    """The access key or its session token is not known."""


def _with_subclasses(kind: type[LambdaServiceException]) -> list[type[LambdaServiceException]]:
    return [kind, *(found for each in kind.__subclasses__() for found in _with_subclasses(each))]


SERVICE_ERRORS: Final = {
    kind.__name__: kind
    for kind in _with_subclasses(LambdaServiceException)
    if kind not in (LambdaServiceException, ThrottledError, SignatureError)
}
"""The classes by the codes that stand for them on the wire."""


_THROTTLES: Final = frozenset(
    {
        *("Throttling", "ThrottledException", "RequestThrottled", "RequestThrottledException", "RequestLimitExceeded"),
        *("BandwidthLimitExceeded", "LimitExceededException", "SlowDown", "PriorRequestNotComplete"),
    }
)
"""What AWS's front ends also call throttles (AWS SDKs and Tools Reference Guide, "Retry behavior")."""


def error_for(code: str, status: int) -> type[LambdaServiceException]:
    """The class of a code; of one that has none, by what it means, or by its status."""
    found = SERVICE_ERRORS.get(code)
    if found is not None:
        return found
    if code == "ValidationError":
        # Lambda's page of common errors calls it so; the service itself, ValidationException.
        return ValidationException
    return ThrottledError if status == 429 or code in _THROTTLES else LambdaServiceException
