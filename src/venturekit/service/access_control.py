"""Who calls, and what they may do: from access keys to accounts, principals and decisions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

from venturekit.protocol.names import InvalidFunctionNameError, function_arn, parse_function_reference
from venturekit.protocol.sigv4_canonical import split_query
from venturekit.protocol.sigv4_claim import SignatureError, claim_of
from venturekit.service.access import principals
from venturekit.service.access.actions import (
    EVENT_PREFIX,
    INVOKE_FUNCTION_URL,
    LOGS_PREFIX,
    MANAGE_CONNECTIONS,
    METRICS_ACTION,
    PREFIX,
    USE_CAPACITY_PROVIDER,
    action_and_resource,
    condition_context,
    passed_capacity_provider,
)
from venturekit.service.access.decision import Decision, authorize
from venturekit.service.access.statements import parse_statements
from venturekit.service.api.errors import ApiError, api_error
from venturekit.service.functions.settings import POLICIES, qualified_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from venturekit.protocol.sigv4_signer import Credentials
    from venturekit.service.access.credentials_file import CredentialsFile
    from venturekit.service.access.principals import Principal
    from venturekit.service.access.statements import Statement
    from venturekit.service.accounts import Account, Accounts
    from venturekit.service.credentials import FunctionCredentials
    from venturekit.service.invocation.invoke import Target
    from venturekit.service.invocation.ports import Resolved
    from venturekit.service.wire.exchange import Exchange

CALLERS_LIMIT: Final = 1024
STATEMENTS_LIMIT: Final = 16_384
"""How many statements of resource-based policies are kept compiled: a policy has up to about 100."""
_CREDENTIAL: Final = re.compile(rb"Credential=([^/,\s]{1,128})/")
_QUERY_CREDENTIAL: Final = re.compile(rb"[?&]X-Amz-Credential=([^&]{1,400})", re.IGNORECASE)
CROSS_ACCOUNT: Final = frozenset({"Invoke", "InvokeAsync", "InvokeWithResponseStream"})
"""The operations that may address a function of another account by its ARN."""
FRONT_OPERATIONS: Final = frozenset({"Invoke", "InvokeWithResponseStream"})
"""What the front process does: it has found out before that whoever called a function URL may."""
FRONT: Final = "front.venturekit"
"""The name of the front process where a refusal says whom it refuses."""


class Resolve(Protocol):
    """How the service finds what an invocation runs."""

    def __call__(self, account: Account, function_name: str, qualifier: str | None) -> Resolved:
        """The function of that account. Raises ApiError."""


class Caller:
    """Somebody with one access key. ``targets`` are the addresses that were found allowed and resolved."""

    __slots__ = ("_account_id", "_control", "principal", "targets", "writes_json")

    def __init__(self, control: AccessControl, account_id: str, principal: Principal) -> None:
        self._control = control
        self._account_id = account_id
        self.principal = principal
        # Whether its payloads are known to be JSON: reading megabytes only to see that holds up everybody.
        self.writes_json = False
        self.targets: dict[bytes, Target] = {}

    @property
    def account(self) -> Account:
        """The caller's account. Asked for anew each time: one without functions may have been let go since."""
        return self._control.account(self._account_id)

    @property
    def account_id(self) -> str:
        """The id of the caller's account."""
        return self._account_id

    def authorize(self, operation: str, members: Mapping[str, Any]) -> None:
        """Raise 403 AccessDeniedException unless this caller may do that."""
        self._control.check(self, self._account_id, operation, members)

    def authorize_logs(self, function_name: str) -> None:
        """Raise 403 AccessDeniedException unless this caller may read the log of a function of its account."""
        self._control.check_logs(self, function_name)

    def authorize_log_group(self, action: str, log_group: str, stream: str = "") -> None:
        """Raise 403 AccessDeniedException unless this caller may do that to a log group of its account.

        ``action`` is one of ``access.actions.LOG_ACTIONS``.
        """
        self._control.check_log_group(self, action, log_group, stream)

    def authorize_metrics(self) -> None:
        """Raise 403 AccessDeniedException unless this caller may read the figures of its account."""
        self._control.check_events(self, METRICS_ACTION, "")

    def authorize_events(self, action: str, function_name: str) -> None:
        """Raise 403 AccessDeniedException unless this caller may do that to queued events of its account.

        ``action`` is one of ``access.actions.EVENT_ACTIONS``. An empty ``function_name`` means all functions.
        """
        self._control.check_events(self, action, function_name)

    def authorize_websockets(self, action: str) -> None:
        """Raise 403 AccessDeniedException unless this caller may do that to the WebSocket APIs of its account.

        ``action`` is one of ``access.actions.WEBSOCKET_ACTIONS``.
        """
        self._control.check_events(self, action, "")

    def connections_refusal(self, account_id: str, resource: str) -> str | None:
        """Why this caller may not manage a connection, or all connections, of an account's API; or None."""
        return self._control.connections_refusal(self, account_id, resource)

    def resolve(self, operation: str, members: Mapping[str, Any]) -> Resolved:
        """What an invocation runs, possibly in another account. Raises ApiError, 403 before 404."""
        return self._control.resolve(self, operation, members)

    def url_refusal(self, function_arn: str, auth_type: str) -> str | None:
        """Why this caller may not call the function URL of a function or alias, or None."""
        return self._control.url_refusal(self, function_arn, auth_type)


class AccessControl:
    """Everything about callers in one place; ``file`` and ``pair`` are the configured credentials, if any.

    Without either there is no access control: the access key then only selects the account. With them,
    ``credentials_of`` is what signatures are verified against. Resource-based policies guard functions against other
    accounts in both cases. ``front`` is the key pair of the front process.
    """

    def __init__(
        self,
        *,
        accounts: Accounts,
        functions: FunctionCredentials,
        pair: Credentials | None,
        file: CredentialsFile | None,
        region: str,
        resolve: Resolve,
        report: Callable[[str], None],
        front: Credentials | None = None,
    ) -> None:
        self._accounts = accounts
        self._functions = functions
        self._pair = pair
        self._file = file
        self._region = region
        self._resolve = resolve
        self._report = report
        self.front_pair = front
        self._callers: dict[str, Caller] = {}
        self._policies: dict[tuple[str, str, str], tuple[object, tuple[Statement, ...]]] = {}
        self._statements_kept = 0
        self.is_on = pair is not None or file is not None
        self.own = self._root(accounts.own.account_id)
        # Whoever asks for what is open to everybody: what a request says of its sender is then not looked at.
        self.nobody = Caller(self, accounts.own.account_id, principals.anonymous())
        self.front = Caller(self, accounts.own.account_id, principals.service(FRONT))
        self.front.writes_json = True

    # --- who ----------------------------------------------------------------------------------------------------

    def account(self, account_id: str) -> Account:
        """The account with this id of 12 digits."""
        return self._accounts.get(account_id)

    def credentials_of(self, access_key_id: str) -> Credentials | None:
        """What a signature with this access key is verified against, or None."""
        if self._pair is not None and access_key_id == self._pair.access_key_id:
            return self._pair
        if self.front_pair is not None and access_key_id == self.front_pair.access_key_id:
            return self.front_pair
        minted = self._functions.find(access_key_id)
        if minted is not None:
            return minted.credentials
        return self._file.credentials_of(access_key_id) if self._file is not None else None

    def expect(self, headers: Mapping[bytes, bytes], target: bytes, now: float) -> None:
        """Refuse a request whose signature cannot become valid by its body, which has not been read yet.

        ``now`` is in epoch seconds. Raises SignatureError: no signature, one that cannot be read, an unknown key.
        """
        self.refresh(now)
        claim = claim_of(headers, split_query(target.partition(b"?")[2]))
        if self.credentials_of(claim.access_key_id) is None:
            raise SignatureError(
                "UnrecognizedClientException", "The security token included in the request is invalid."
            )

    def verified(self, access_key_id: str) -> Caller:
        """The caller whose signature was verified."""
        caller = self._callers.get(access_key_id)
        return caller if caller is not None else self._keep(access_key_id, self._make(access_key_id))

    def unverified(self, exchange: Exchange) -> Caller:
        """The caller of a request whose signature is not checked: its access key, if any, selects the account.

        Only while there is no access control. With it, an unverified request comes from nobody, whatever key it names.
        """
        if self.is_on:
            return self.nobody
        access_key_id = claimed_access_key(exchange.headers.get(b"authorization", b""), exchange.target)
        return self.own if access_key_id is None else self.claimed(access_key_id)

    def claimed(self, access_key_id: str) -> Caller:
        """The caller that an access key stands for while signatures are not checked."""
        caller = self._callers.get(access_key_id)
        if caller is not None:
            return caller
        if self.front_pair is not None and access_key_id == self.front_pair.access_key_id:
            return self._keep(access_key_id, self.front)
        minted = self._functions.find(access_key_id)
        if minted is not None:
            return self._keep(access_key_id, self._root(minted.account_id))
        if principals.is_account_id(access_key_id):
            return self._keep(access_key_id, self._root(access_key_id))
        return self.own

    def refresh(self, now: float) -> None:
        """Look whether the credentials file has changed; ``now`` in epoch seconds."""
        if self._file is not None and self._file.refresh(now, self._report):
            self._callers.clear()

    def forget_targets(self) -> None:
        """A function has changed: addresses may mean something else now, roles and policies too."""
        self.own.targets.clear()
        self.nobody.targets.clear()
        self.front.targets.clear()
        self._callers.clear()

    def _keep(self, access_key_id: str, caller: Caller) -> Caller:
        if len(self._callers) >= CALLERS_LIMIT:
            self._callers.clear()
        self._callers[access_key_id] = caller
        return caller

    def _root(self, account_id: str) -> Caller:
        return Caller(self, account_id, principals.root(account_id))

    def _make(self, access_key_id: str) -> Caller:
        # In the order of credentials_of: this is about whoever's secret was verified.
        if self._pair is not None and access_key_id == self._pair.access_key_id:
            return self.own
        if self.front_pair is not None and access_key_id == self.front_pair.access_key_id:
            return self.front
        minted = self._functions.find(access_key_id)
        if minted is not None:
            return self.of_function(minted.account_id, minted.function_name, minted.version)
        entry = self._file.find(access_key_id) if self._file is not None else None
        if entry is None:
            return self.nobody
        return Caller(self, entry.principal.account_id, entry.principal)

    def of_function(self, account_id: str, name: str, version: str) -> Caller:
        """A version (or alias) of a function as a caller, with its role.

        One that is gone has none, and may do what a function may of whose role nothing is said: who deletes a function
        must not get more for it than the function had.
        """
        functions = self.account(account_id).functions
        try:
            role = functions.version(name, version).role
        except ApiError:
            role = ""
        if self._file is not None:
            statements = self._file.role_statements(role, account_id)
        else:
            # A key pair alone says nothing about functions.
            from venturekit.service.access.credentials_file import default_role_statements

            statements = default_role_statements(account_id)
        return Caller(self, account_id, principals.function(account_id, role, name, statements))

    # --- what they may do -----------------------------------------------------------------------------------------

    def check(self, caller: Caller, account_id: str, operation: str, members: Mapping[str, Any]) -> None:
        """Raise 403 AccessDeniedException unless ``caller`` may do this to something of this account.

        An account that nobody has used has no policy that lets anybody in, and so is like any other.
        """
        principal = caller.principal
        if principal.statements is None and account_id == principal.account_id:
            return
        if caller is self.front and operation in FRONT_OPERATIONS:
            return
        action, resource = action_and_resource(operation, members, region=self._region, account_id=account_id)
        context = condition_context(operation, members, region=self._region, account_id=account_id)
        denial = authorize(principal, action, resource, account_id, self._policy(account_id, resource), context)
        if denial is None:
            provider = passed_capacity_provider(operation, members)
            if provider is not None:
                denial = authorize(principal, USE_CAPACITY_PROVIDER, provider, account_id)
        if denial is not None:
            raise api_error("AccessDeniedException", denial.message, type=None)

    def check_logs(self, caller: Caller, function_name: str) -> None:
        """Raise 403 AccessDeniedException unless ``caller`` may read this function's log."""
        if caller.principal.statements is None:
            return
        account_id = caller.account.account_id
        resource = f"arn:aws:logs:{self._region}:{account_id}:log-group:/aws/lambda/{function_name}"
        denial = authorize(caller.principal, "logs:FilterLogEvents", resource, account_id)
        if denial is not None:
            raise api_error("AccessDeniedException", denial.message, type=None)

    def check_log_group(self, caller: Caller, action: str, log_group: str, stream: str) -> None:
        """Raise 403 AccessDeniedException unless ``caller`` may do this to a log group of its account.

        As on AWS a policy may name the group (``log-group:NAME``) or what is in it (``log-group:NAME:*``), whatever
        the action is about.
        """
        if caller.principal.statements is None:
            return
        group = f"arn:aws:logs:{self._region}:{caller.account_id}:log-group:{log_group}"
        resources = (group, f"{group}:log-stream:{stream}")
        denials = [authorize(caller.principal, LOGS_PREFIX + action, each, caller.account_id) for each in resources]
        refused = [denial for denial in denials if denial is not None]
        explicit = [denial for denial in refused if denial.decision is Decision.DENIED_BY_IDENTITY]
        if explicit or len(refused) == len(resources):
            raise api_error("AccessDeniedException", (explicit or refused)[-1].message, type=None)

    def check_events(self, caller: Caller, action: str, function_name: str) -> None:
        """Raise 403 AccessDeniedException unless ``caller`` may do this to queued events of a function, or of all."""
        if caller.principal.statements is None:
            return
        account_id = caller.account.account_id
        resource = function_arn(self._region, account_id, function_name) if function_name else "*"
        denial = authorize(caller.principal, f"{EVENT_PREFIX}{action}", resource, account_id)
        if denial is not None:
            raise api_error("AccessDeniedException", denial.message, type=None)

    def url_refusal(self, caller: Caller, function_arn: str, auth_type: str) -> str | None:
        """Why ``caller`` may not call the function URL of a function or alias, or None.

        Two actions must be allowed, each with a condition key of its own (Developer Guide, "Control access to Lambda
        function URLs").
        """
        principal = caller.principal
        account_id = function_arn.split(":")[4]
        if principal.statements is None and account_id == principal.account_id:
            return None
        policy = self._policy(account_id, function_arn)
        for action, context in (
            (INVOKE_FUNCTION_URL, {"lambda:FunctionUrlAuthType": auth_type}),
            (f"{PREFIX}InvokeFunction", {"lambda:InvokedViaFunctionUrl": "true"}),
        ):
            denial = authorize(principal, action, function_arn, account_id, policy, context)
            if denial is not None:
                key, value = next(iter(context.items()))
                who = "everybody" if principal is self.nobody.principal else principal.arn
                why = denial.decision.value.format(action=action)
                return f"{who} is not authorized to perform {action} on {function_arn} with {key} {value} {why}"
        return None

    def connections_refusal(self, caller: Caller, account_id: str, resource: str) -> str | None:
        """Why ``caller`` may not manage what the rest of an ARN names, such as ``api/stage/POST/@connections/id``."""
        principal = caller.principal
        if principal.statements is None and account_id == principal.account_id:
            return None
        arn = f"arn:aws:execute-api:{self._region}:{account_id}:{resource}"
        denial = authorize(principal, MANAGE_CONNECTIONS, arn, account_id)
        return None if denial is None else denial.message or "not allowed"

    def resolve(self, caller: Caller, operation: str, members: Mapping[str, Any]) -> Resolved:
        """What an invocation runs. The caller is authorized first: a stranger does not learn what there is."""
        account_id = _addressed_account(caller, operation, members["FunctionName"])
        self.check(caller, account_id, operation, members)
        return self._resolve(self.account(account_id), members["FunctionName"], members.get("Qualifier"))

    def _policy(self, account_id: str, resource: str) -> tuple[Statement, ...]:
        """The resource-based policy of the function, version or alias that an ARN names."""
        parts = resource.split(":")
        account = self._accounts.find(account_id)
        if account is None or len(parts) < 7 or parts[5] != "function" or parts[6] not in account.functions:
            return ()
        qualifier = parts[7] if len(parts) > 7 else ""
        document = qualified_settings(account.functions.function(parts[6]), POLICIES).get(qualifier)
        if document is None:
            return ()
        key = (account_id, parts[6], qualifier)
        known = self._policies.get(key)
        if known is None or known[0] is not document:
            statements = parse_statements(document, place=resource, principal_allowed=True)
            known = document, statements
            self._keep_policy(key, known)
        return known[1]

    def _keep_policy(self, key: tuple[str, str, str], policy: tuple[object, tuple[Statement, ...]]) -> None:
        former = self._policies.pop(key, None)
        if former is not None:
            self._statements_kept -= len(former[1])
        if self._statements_kept + len(policy[1]) > STATEMENTS_LIMIT:
            self._policies.clear()
            self._statements_kept = 0
        self._policies[key] = policy
        self._statements_kept += len(policy[1])


def _addressed_account(caller: Caller, operation: str, function_name: str) -> str:
    """The id of the account that an invocation is about: another than the caller's only where that is possible."""
    own = caller.principal.account_id
    try:
        account_id = parse_function_reference(function_name).account_id
    except InvalidFunctionNameError:
        return own
    return own if account_id is None or operation not in CROSS_ACCOUNT else account_id


def claimed_access_key(authorization: bytes, target: bytes) -> str | None:
    """The access key that a request names, in its header or its query, whatever its signature is worth."""
    found = _CREDENTIAL.search(authorization)
    if found is not None:
        return found[1].decode("latin-1")
    found = _QUERY_CREDENTIAL.search(target)
    return unquote(found[1].decode("latin-1")).partition("/")[0] if found is not None else None
