"""Events of the triggers of Cognito user pools.

Source: Amazon Cognito Developer Guide, "Customizing user pool workflows with Lambda triggers", one page each.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

from venturekit.testing.events.common import REGION

if TYPE_CHECKING:
    from collections.abc import Mapping

_GROUPS: Final[dict[str, Any]] = {"groupsToOverride": [], "iamRolesToOverride": [], "preferredRole": None}
_CHALLENGE: Final[dict[str, Any]] = {"challengeName": "CUSTOM_CHALLENGE", "session": []}
_MIGRATED: Final[dict[str, Any]] = {
    "userAttributes": None,
    "finalUserStatus": None,
    "messageAction": None,
    "desiredDeliveryMediums": None,
    "forceAliasCreation": None,
}
# By the part of the trigger source before the underscore: what the request has besides, and the empty response.
_TRIGGERS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "PreSignUp": (
        {"validationData": None},
        {"autoConfirmUser": False, "autoVerifyEmail": False, "autoVerifyPhone": False},
    ),
    "PostConfirmation": ({}, {}),
    "PreAuthentication": ({"validationData": None, "userNotFound": False}, {}),
    "PostAuthentication": ({"newDeviceUsed": False}, {}),
    "TokenGeneration": ({"groupConfiguration": _GROUPS}, {"claimsOverrideDetails": None}),
    "UserMigration": ({"password": "password", "validationData": None}, _MIGRATED),
    "CustomMessage": (
        {"codeParameter": "####", "linkParameter": "{##Click Here##}", "usernameParameter": None},
        {"smsMessage": None, "emailMessage": None, "emailSubject": None},
    ),
    "DefineAuthChallenge": (
        {"session": [], "userNotFound": False},
        {"challengeName": None, "issueTokens": None, "failAuthentication": None},
    ),
    "CreateAuthChallenge": (
        {**_CHALLENGE, "userNotFound": False},
        {"publicChallengeParameters": None, "privateChallengeParameters": None, "challengeMetadata": None},
    ),
    "VerifyAuthChallengeResponse": (
        {"privateChallengeParameters": {}, "challengeAnswer": "", "userNotFound": False},
        {"answerCorrect": None},
    ),
    "CustomEmailSender": ({"type": "customEmailSenderRequestV1", "code": "code"}, {}),
    "CustomSMSSender": ({"type": "customSMSSenderRequestV1", "code": "code"}, {}),
}


def cognito_event(
    trigger: str = "PreSignUp_SignUp",
    *,
    user_name: str = "user",
    attributes: Mapping[str, str] | None = None,
    request: Mapping[str, Any] | None = None,
    client_metadata: Mapping[str, str] | None = None,
    user_pool_id: str | None = None,
    client_id: str = "1example23456789",
    region: str = REGION,
) -> dict[str, Any]:
    """The event of a trigger, with the response that the function fills in::

        >>> from venturekit.testing import cognito_event
        >>> event = cognito_event("PreSignUp_SignUp", attributes={"email": "alice@example.com"})
        >>> event["request"]["userAttributes"], event["response"]["autoConfirmUser"]
        ({'email': 'alice@example.com'}, False)

    ``trigger`` is a trigger source in AWS's words: ``PostConfirmation_ConfirmSignUp``,
    ``TokenGeneration_Authentication``, ``UserMigration_ForgotPassword``, …; ``request`` adds to what such a request
    has. Raises ValueError for a trigger that there is not.
    """
    kind = trigger.partition("_")[0]
    if kind not in _TRIGGERS or trigger == kind:
        raise ValueError(
            f"{trigger!r} is no trigger source: PreSignUp_SignUp is; they begin with {', '.join(_TRIGGERS)}"
        )
    asked, answered = deepcopy(_TRIGGERS[kind])
    if kind == "CustomMessage" and trigger.endswith("_AdminCreateUser"):
        asked["usernameParameter"] = "{username}"
    made: dict[str, Any] = {} if kind == "UserMigration" else {"userAttributes": dict(attributes or {})}
    metadata = None if client_metadata is None else dict(client_metadata)
    return {
        "version": "1",
        "region": region,
        "userPoolId": user_pool_id or f"{region}_EXAMPLE",
        "userName": user_name,
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": client_id},
        "triggerSource": trigger,
        "request": {**made, **asked, "clientMetadata": metadata, **(request or {})},
        "response": answered,
    }
