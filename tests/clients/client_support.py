"""Keys for a service with a credentials file, clients that sign with them, and what tests look at."""

from __future__ import annotations

import base64
import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.service.harness import PYTHON, Response, client_of, send, until, zip_of
from venturekit.service.access.credentials_file import write_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.service.harness import RunningService

OWN = "000000000000"
OTHER = "111122223333"
ECHO = "def handler(event, context):\n    return event\n"


@dataclass(frozen=True)
class Key:
    """A key of the file as its holder has it."""

    user: str
    statements: tuple[Mapping[str, Any], ...] = ()
    account_id: str = OWN
    token: str | None = None
    expires: str | None = None

    @property
    def access_key_id(self) -> str:
        return f"AKID{self.user.upper()}"

    @property
    def secret(self) -> str:
        return f"secret-of-{self.user}-0123456789"

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account_id}:user/{self.user}"

    @property
    def triple(self) -> tuple[str, str, str | None]:
        return self.access_key_id, self.secret, self.token

    def entry(self) -> dict[str, Any]:
        """The key as it stands in the file."""
        made: dict[str, Any] = {
            "accessKeyId": self.access_key_id,
            "secretAccessKey": self.secret,
            "user": self.user,
            "accountId": self.account_id,
            "statements": list(self.statements),
        }
        optional = {"sessionToken": self.token, "expires": self.expires}
        return made | {name: value for name, value in optional.items() if value is not None}

    def client(self, url: str, **options: Any) -> Any:
        """An unmodified boto3 client with this key."""
        return client_with(url, *self.triple, **options)


@contextmanager
def clients_of(url: str) -> Iterator[Callable[..., Any]]:
    """Gives ``make(key, **options)``: boto3 clients of a service, which are closed in the end."""
    made: list[Any] = []

    def make(key: Key, **options: Any) -> Any:
        made.append(key.client(url, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def client_with(url: str, access_key_id: str, secret: str, token: str | None = None, **options: Any) -> Any:
    """An unmodified boto3 client with these credentials."""
    keys: Any = (access_key_id, secret) if token is None else (access_key_id, secret, token)
    return client_of(url, signed=keys, **options)


def sha256_of(data: bytes) -> str:
    """As CodeSha256 is written."""
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def arn(name: str, account_id: str = OWN) -> str:
    """The ARN of a function, with a qualifier if the name has one."""
    return f"arn:aws:lambda:us-east-1:{account_id}:function:{name}"


def statement(action: str | list[str], resource: str | list[str] = "*", effect: str = "Allow") -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource}


def write_keys(path: Path, keys: tuple[Key, ...], roles: list[dict[str, Any]] | None = None) -> None:
    """Write a credentials file as ``vk credentials`` would."""
    document: dict[str, Any] = {"keys": [key.entry() for key in keys]}
    if roles is not None:
        document["roles"] = roles
    write_document(path, document)


def create(client: Any, name: str, source: str = ECHO, *, role: str = f"arn:aws:iam::{OWN}:role/any") -> None:
    """Create a Python function, and wait until it is active if the client may look."""
    client.create_function(
        FunctionName=name,
        Runtime=PYTHON,
        Handler="app.handler",
        Role=role,
        Code={"ZipFile": zip_of({"app.py": source})},
        Timeout=30,
    )
    until(lambda: client.get_function_configuration(FunctionName=name)["State"] == "Active", f"{name} becomes active")


def wait(client: Any, waiter: str, **members: Any) -> None:
    """What a waiter of botocore does, without its pauses of a second and more."""
    client.get_waiter(waiter).wait(**members, WaiterConfig={"Delay": 0, "MaxAttempts": 2000})


def refused(call: Callable[..., Any], **members: Any) -> tuple[int, str, str | None]:
    """Status, code and message of a call that must fail."""
    try:
        call(**members)
    except ClientError as error:
        answer = error.response
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"], answer["Error"]["Message"]
    raise AssertionError(f"was allowed: {members}")


def not_allowed(key: Key, action: str, resource: str) -> tuple[int, str, str]:
    """What a key is answered that no policy allows this."""
    message = (
        f"User: {key.arn} is not authorized to perform: lambda:{action} on resource: {resource} "
        f"because no identity-based policy allows the lambda:{action} action"
    )
    return 403, "AccessDeniedException", message


def signed_headers(
    running: RunningService,
    key: Key,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    region: str = "us-east-1",
    service: str = "lambda",
) -> dict[str, str]:
    """The headers that botocore's own signer gives a request."""
    request = AWSRequest(method, f"{running.url}{target}", {"Host": running.url.partition("//")[2]}, body)
    SigV4Auth(Credentials(*key.triple), service, region).add_auth(request)
    return dict(request.headers.items())


def send_signed(running: RunningService, key: Key, method: str, target: str, body: bytes | None = None) -> Response:
    """One request as it stands, signed."""
    return send(running.url, method, target, body, signed_headers(running, key, method, target, body or b""))


def value_of(answer: Any) -> Any:
    """What a function that did not fail has returned."""
    assert "FunctionError" not in answer
    return json.loads(answer["Payload"].read())
