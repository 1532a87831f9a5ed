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


def zip_too_large(limit_bytes: int) -> ApiError:
    """413 for an archive over the limit; recorded without ``Type``."""
    return api_error(
        "RequestEntityTooLargeException", f"Zipped size must be smaller than {limit_bytes} bytes", type=None
    )


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


def invalid_marker() -> ApiError:
    """400 for a ``Marker`` that no page gave; the words are a choice."""
    return invalid_parameter("Invalid Marker: use the NextMarker of the page before, unchanged")


def no_such_resource() -> ApiError:
    """404 in the words that are not about functions: for URL configurations, policies and others."""
    return resource_not_found("The resource you requested does not exist.")


def alias_to_update_not_found(arn: str) -> ApiError:
    """404 of UpdateAlias, which has other words than GetAlias; ``arn`` is the alias's ARN."""
    return resource_not_found(f"Alias not found: {arn}")


def tags_on_a_qualifier() -> ApiError:
    """400 for the ARN of a version or alias; given before it is looked for."""
    return invalid_parameter("Tags on function aliases and versions are not supported. Please specify a function ARN.")


def no_tags() -> ApiError:
    """400 of TagResource without a tag."""
    return invalid_parameter("An error occurred and the request cannot be processed.")


def too_many_tags() -> ApiError:
    """400 for more than 50 tags."""
    return invalid_parameter("Number of tags exceeds resource tag limit.")


def reserved_tag_key() -> ApiError:
    """400 for a tag that only AWS may set; the words are those of AWS CloudFormation, those of Lambda not known."""
    return invalid_parameter("aws: prefixed tag key names are not allowed for external use.")


def reserved_concurrency_on_a_qualifier() -> ApiError:
    """400 of the reserved concurrency operations for a version or alias, ``$LATEST`` included."""
    return invalid_parameter(
        "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
        "Please specify either a function name or an unqualified function ARN."
    )


def too_little_unreserved(minimum: int) -> ApiError:
    """400 when a reservation leaves the other functions too little; recorded without ``Type``."""
    return invalid_parameter(
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        f"its minimum value of [{minimum}].",
        type_=None,
    )


def reserved_below_provisioned(reserved: int, provisioned: int) -> ApiError:
    """400 for a reservation that is smaller than the provisioned concurrency; the blanks are as recorded."""
    return invalid_parameter(
        f" ReservedConcurrentExecutions  {reserved} should not be lower than function's total provisioned concurrency "
        f"[{provisioned}]."
    )


def provisioned_above_reserved() -> ApiError:
    """400 for provisioned concurrency that is, over all versions and aliases, greater than the reservation."""
    return invalid_parameter(
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    )


def provisioned_above_account(unreserved: int) -> ApiError:
    """400 for more than the account could ever provision; ``unreserved`` is what it has left.

    Another emulator's words: no answer of AWS's that is like it was found.
    """
    return invalid_parameter(
        f"Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [{unreserved}].",
        type_=None,
    )


def provisioned_leaves_too_little(minimum: int) -> ApiError:
    """400 when provisioned concurrency leaves the other functions too little (published answers)."""
    return invalid_parameter(
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        f"minimum value of [{minimum}].",
        type_=None,
    )


def provisioned_for_latest() -> ApiError:
    """400 of PutProvisionedConcurrencyConfig for ``$LATEST``."""
    return invalid_parameter("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")


def provisioned_without_version() -> ApiError:
    """400 of the other operations on provisioned concurrency for ``$LATEST``; that it is theirs is a choice."""
    return invalid_parameter("The function resource provided must be an alias or a published version.")


def provisioned_with_weights() -> ApiError:
    """400 for an alias with two versions (published answers)."""
    return invalid_parameter("Alias with weights can not be used with Provisioned Concurrency")


def alias_of_provisioned_version() -> ApiError:
    """409 for an alias one of whose versions has provisioned concurrency of its own."""
    return conflict("Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version")


def version_of_provisioned_alias() -> ApiError:
    """409 for a version that an alias with provisioned concurrency names."""
    return conflict("Version is pointed by a Provisioned Concurrency alias")


def no_provisioned_concurrency() -> ApiError:
    """404 where nothing is configured."""
    return api_error(
        "ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function"
    )


def event_invoke_target_not_found() -> ApiError:
    """404 of the event invoke operations for a function, version or alias."""
    return resource_not_found("The function doesn't exist.")


def no_event_invoke_config(arn: str) -> ApiError:
    """404 where nothing is configured; ``arn`` always carries a qualifier."""
    return resource_not_found(f"The function {arn} doesn't have an EventInvokeConfig")


def nothing_to_configure() -> ApiError:
    """400 for an event invoke configuration without any member."""
    return invalid_parameter("You must specify at least one of error handling or destination setting.")


def function_as_its_own_destination() -> ApiError:
    """400 for a function that would be sent its own results."""
    return invalid_parameter("You can't specify the function as a destination for itself.")


def invalid_destination(arn: str) -> ApiError:
    """400 for a destination of a known kind that does not exist."""
    return invalid_parameter(f"The destination ARN {arn} is invalid.")


def invalid_destination_config(config: str) -> ApiError:
    """400 for a destination of a kind that is not taken; ``config`` is the whole of it in AWS's notation."""
    return invalid_parameter(f"The provided destination config {config} is invalid.")


def runtime_management_on_an_alias(arn: str) -> ApiError:
    """400 of PutRuntimeManagementConfig for an alias; ``arn`` is the alias's ARN."""
    return invalid_parameter(f"The provided function name {arn} is invalid. Aliases are not allowed.")


def code_signing_config_not_found(arn: str) -> ApiError:
    """404 for a code signing configuration; recorded without ``Type``."""
    return api_error(
        "ResourceNotFoundException", f"The Lambda code signing configuration {arn} can not be found.", type=None
    )


def function_url_target_not_found() -> ApiError:
    """404 of the function URL operations for a function or alias."""
    return resource_not_found("Function does not exist")


def function_url_exists(arn: str) -> ApiError:
    """409 for a second function URL; ``arn`` is that of the function or alias."""
    return conflict(
        f"Failed to create function url config for [functionArn = {arn}]. Error message:  "
        "FunctionUrlConfig exists for this Lambda function"
    )


def layer_number_too_small() -> ApiError:
    """400 for a layer version below 1."""
    return invalid_parameter("Layer Version Cannot be less than 1")


def layer_version_not_found(arn: str) -> ApiError:
    """404 of the layer permission operations; ``arn`` is the layer version's."""
    return resource_not_found(f"Layer version {arn} does not exist.")


def layer_of_function_not_found(arn: str) -> ApiError:
    """400 for a layer version that a function asks for."""
    return invalid_parameter(f"Layer version {arn} does not exist.")


def layers_of_another_region(region: str, own_region: str) -> ApiError:
    """404 for the ARN of a layer of a region that is not served here; worded as for functions, which is a choice."""
    return resource_not_found(f"Layers from '{region}' are not reachable in this region ('{own_region}')")


def layers_not_in_region(region: str) -> ApiError:
    """400 for a function's layer in another region than ``region``, the function's."""
    return invalid_parameter(
        f"Layers are not in the same region as the function. Layers are expected to be in region {region}."
    )


def two_versions_of_a_layer(arn: str, other_arn: str) -> ApiError:
    """400 for two layer versions of one function, possibly the same, that are versions of one layer."""
    return invalid_parameter(
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{arn} and {other_arn} are versions of the same layer."
    )


def code_with_layers_too_large(size_bytes: int, limit_bytes: int) -> ApiError:
    """400 for code and layers that unpack to more than ``limit_bytes`` together."""
    return invalid_parameter(
        f"Function code combined with layers exceeds the maximum allowed size of {limit_bytes} bytes. "
        f"The actual size is {size_bytes} bytes."
    )


def no_resource_policy_allows(principal_arn: str, action: str, resource: str) -> ApiError:
    """403 for something of another account whose policy does not let the caller in."""
    return api_error(
        "AccessDeniedException",
        f"User: {principal_arn} is not authorized to perform: {action} on resource: {resource} because no "
        f"resource-based policy allows the {action} action",
        type=None,
    )


def statement_exists(sid: str) -> ApiError:
    """409 for a statement id that a policy has already."""
    return conflict(
        f"The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing "
        "statement."
    )


def statement_not_found(sid: str) -> ApiError:
    """404 for a statement to remove."""
    return resource_not_found(f"Statement {sid} is not found in resource policy.")


def no_policy_to_change() -> ApiError:
    """404 where there is no policy: of RemovePermission, and of GetLayerVersionPolicy."""
    return resource_not_found("No policy is associated with the given resource.")


def no_policy_of_function(arn: str) -> ApiError:
    """404 of RemovePermission for a function that does not exist."""
    return resource_not_found(f"No policy found for: {arn}")


def policy_too_long(size_bytes: int, limit_bytes: int) -> ApiError:
    """400 PolicyLengthExceededException."""
    return api_error(
        "PolicyLengthExceededException",
        f"The final policy size ({size_bytes}) is bigger than the limit ({limit_bytes}).",
    )


def policy_revision_mismatch(operation: str) -> ApiError:
    """412 of the permission operations; ``operation`` is the one that gives the current ``RevisionId``."""
    return api_error(
        "PreconditionFailedException",
        "The Revision Id provided does not match the latest Revision Id. "
        f"Call the {operation} API to retrieve the latest Revision Id",
    )


def policy_for_latest() -> ApiError:
    """400 for a permission on ``$LATEST``."""
    return invalid_parameter("We currently do not support adding policies for $LATEST.")


def invalid_principal() -> ApiError:
    """400 for a principal that is neither an account, an ARN of one, a service nor ``*``."""
    return invalid_parameter("The provided principal was invalid. Please check the principal and try again.")


def auth_type_for_another_action() -> ApiError:
    """400 for a ``FunctionUrlAuthType`` on a permission that is not about function URLs (published answers)."""
    return invalid_parameter("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action")


def no_code_source() -> ApiError:
    """400 for code without an archive."""
    return invalid_parameter("Please provide a source for function code.")


def two_code_sources() -> ApiError:
    """400 for an archive in the request beside another source (published answers)."""
    return invalid_parameter("Please do not provide other FunctionCode parameters when providing a ZipFile.")


def incomplete_s3_source() -> ApiError:
    """400 for a bucket without a key, or the other way round. The words are a choice."""
    return invalid_parameter("Code from S3 takes both S3Bucket and S3Key: add the one that is missing")


def s3_refused(code: str, message: str) -> ApiError:
    """400 with the words in which S3 refused to give the code (published answers)."""
    return invalid_parameter(f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {message}")


def s3_access_denied(bucket: str, key: str, code: str, message: str) -> ApiError:
    """403 for an object that the credentials may not read (published answers)."""
    return api_error(
        "AccessDeniedException",
        "Your access has been denied by S3, please make sure your request credentials have permission to GetObject "
        f"for {bucket}/{key}. S3 Error Code: {code}. S3 Error Message: {message}",
        type=None,
    )


def code_not_fetched(bucket: str, key: str, reason: str) -> ApiError:
    """400 for an object that this service could not ask for. 400 although it may be S3's fault: retries are no help."""
    return invalid_parameter(f"The code could not be fetched from s3://{bucket}/{key}: {reason}")


def subnets_without_groups() -> ApiError:
    """400 for a VpcConfig with subnets and no security groups, or the other way round (published answers)."""
    return invalid_parameter("SubnetIds and SecurityIds must coexist or be both empty list.")


def log_levels_in_text() -> ApiError:
    """400 for log levels with the log format Text (published answers)."""
    return invalid_parameter(
        'LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the '
        'LogFormat to "Json" and try again.'
    )


def no_snap_start(what: str) -> ApiError:
    """400 for something that SnapStart does not go with (published answers)."""
    return invalid_parameter(f"{what} is not supported for SnapStart enabled functions.")


def not_with_tenants(what: str) -> ApiError:
    """400 for something that a function with tenant isolation cannot have (AWS page "Tenant isolation").

    The words are a choice.
    """
    return invalid_parameter(
        f"A function with tenant isolation (TenancyConfig) cannot have {what}: create one without TenancyConfig for it."
    )


def no_dead_letter_target(arn: str) -> ApiError:
    """400 for a dead letter target that is neither a standard queue nor a standard topic. The words are a choice."""
    return invalid_parameter(
        f"DeadLetterConfig.TargetArn {arn} must be the ARN of an SQS queue or an SNS topic, and not of a FIFO one"
    )


def reserved_log_group(name: str) -> ApiError:
    """400 for a log group of AWS's own. The words are a choice."""
    return invalid_parameter(f"LogGroup {name} begins with aws/, which is reserved: choose another name")
