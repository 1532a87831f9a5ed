"""``vk credentials``: create, list and remove the access keys of a credentials file."""

from __future__ import annotations

import base64
import contextlib
import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from venturekit.cli import options  # noqa: TC001 - Typer evaluates the annotations
from venturekit.cli.environ import variables
from venturekit.cli.exits import USAGE, CommandError, complain
from venturekit.cli.output import write_bytes, write_json, write_table
from venturekit.service.access.actions import KNOWN_ACTIONS
from venturekit.service.access.credentials_document import parse_document
from venturekit.service.access.credentials_file import only_editor, read_document, write_document
from venturekit.service.access.faults import CredentialsFileError
from venturekit.service.access.patterns import PatternSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FILE_VARIABLE: Final = "VENTUREKIT_CREDENTIALS"
LONGEST_SESSION_HOURS: Final = 24 * 365
FULL_ACCESS: Final = ("*",)
READ_ONLY: Final = (
    *("lambda:Get*", "lambda:List*", "logs:Describe*", "logs:FilterLogEvents", "logs:GetLogEvents"),
    *("venturekit:Get*", "venturekit:List*"),
)
INVOKE_ONLY: Final = ("lambda:InvokeFunction", "lambda:InvokeAsync", "lambda:InvokeFunctionUrl")
_ALLOWED: Final = re.compile(r"([^:]+:[^:]+):(.+)")

File = Annotated[
    Path | None,
    typer.Option(
        "--file", metavar="FILE", help=f"The credentials file. Without it, the one that {FILE_VARIABLE} names."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        name="credentials",
        no_args_is_help=True,
        help="Create, list and remove the access keys of a credentials file, for vk serve --credentials.",
    )
    group.command()(create)
    group.command("list")(list_command)
    group.command()(remove)
    app.add_typer(group)


def create(
    file: File = None,
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="Whose key it is.")] = "user",
    account_id: Annotated[
        str | None,
        typer.Option("--account-id", metavar="ID", help="Account of the user. Without it, the service's own."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            metavar="ACTION:RESOURCE",
            help="Allow an action on a resource, such as lambda:InvokeFunction:arn:aws:lambda:*:*:function:orders. "
            "May be given several times.",
        ),
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Allow to get and list everything, logs and events included.")
    ] = False,
    invoke_only: Annotated[bool, typer.Option("--invoke-only", help="Allow to invoke every function.")] = False,
    full_access: Annotated[bool, typer.Option("--full-access", help="Allow everything.")] = False,
    session_hours: Annotated[
        int | None,
        typer.Option(
            "--session-hours",
            metavar="HOURS",
            min=1,
            max=LONGEST_SESSION_HOURS,
            help="Make a key with a session token, which expires after so many hours.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, in the form of a credential_process of AWS's tools.")
    ] = False,
) -> None:
    """Make a key, add it to the file, and show its secret: this once.

    What the key may do has to be said: --allow, --read-only, --invoke-only, --full-access, or several of them.
    """
    path = _path(file)
    key = {"user": user} if account_id is None else {"user": user, "accountId": account_id}
    key |= new_secrets(session_hours, datetime.now(UTC))
    statements = chosen_statements(allow or (), read_only=read_only, invoke_only=invoke_only, full_access=full_access)
    with _changing(path) as document:
        document["keys"].append({**key, "statements": statements})
    _show_secrets(key, as_json)
    complain(f"the secret is not shown again; it is kept in {path}, which nobody but you can read")


def list_command(file: File = None, as_json: options.Json = False) -> None:
    """List the keys and what they may do, without their secrets."""
    found = [
        {name: key[name] for name in ("accessKeyId", "user", "accountId", "expires", "statements") if name in key}
        for key in _read(_path(file))["keys"]
    ]
    if as_json:
        write_json(found)
        return
    write_table(
        ("ACCESS KEY", "USER", "ACCOUNT", "EXPIRES", "MAY"),
        (
            [key.get(name, "") for name in ("accessKeyId", "user", "accountId", "expires")]
            + ["; ".join(summary(statement) for statement in key["statements"])]
            for key in found
        ),
    )


def remove(
    access_key_id: Annotated[str, typer.Argument(metavar="KEYID", help="The access key.")], file: File = None
) -> None:
    """Remove a key. A running service refuses it a second later at most."""
    path = _path(file)
    with _changing(path, must_exist=True) as document:
        kept = [key for key in document["keys"] if key["accessKeyId"] != access_key_id]
        if len(kept) == len(document["keys"]):
            raise CommandError(f"there is no key {access_key_id} in {path}")
        document["keys"] = kept


def chosen_statements(
    allow: Iterable[str], *, read_only: bool, invoke_only: bool, full_access: bool
) -> list[dict[str, Any]]:
    """The statements of the options. Raises CommandError if nothing was chosen, or an option cannot be understood."""
    statements = [_allowed(text) for text in allow]
    for wanted, actions in ((read_only, READ_ONLY), (invoke_only, INVOKE_ONLY), (full_access, FULL_ACCESS)):
        if wanted:
            statements.append({"Effect": "Allow", "Action": list(actions), "Resource": "*"})
    if not statements:
        raise CommandError(
            "say what the key may do: --invoke-only, --read-only, --full-access, or --allow ACTION:RESOURCE", USAGE
        )
    return statements


def _allowed(text: str) -> dict[str, Any]:
    found = _ALLOWED.fullmatch(text)
    if found is None:
        raise CommandError(
            f"--allow {text!r} must be an action and a resource, such as lambda:GetFunction:* or "
            "lambda:InvokeFunction:arn:aws:lambda:*:*:function:orders (--full-access allows everything)",
            USAGE,
        )
    pattern = PatternSet((found[1].lower(),))
    if not any(pattern.matches(action.lower()) for action in KNOWN_ACTIONS):
        raise CommandError(f"--allow {text!r}: there is no action {found[1]}, such as lambda:InvokeFunction", USAGE)
    return {"Effect": "Allow", "Action": found[1], "Resource": found[2]}


def new_secrets(session_hours: int | None, now: datetime) -> dict[str, str]:
    """A new key in the members of the file; with a session token and its end if it is to expire."""
    prefix = "AKIA" if session_hours is None else "ASIA"
    made = {
        "accessKeyId": prefix + base64.b32encode(secrets.token_bytes(10)).decode(),
        "secretAccessKey": base64.b64encode(secrets.token_bytes(30)).decode(),
    }
    if session_hours is not None:
        expires = (now + timedelta(hours=session_hours)).replace(microsecond=0)
        made["sessionToken"] = base64.b64encode(secrets.token_bytes(48)).decode()
        made["expires"] = expires.isoformat().replace("+00:00", "Z")
    return made


def summary(statement: dict[str, Any]) -> str:
    """A statement in one line for people."""

    def patterns(name: str) -> str:
        given = statement.get(name, statement.get(f"Not{name}"))
        listed = ", ".join(given) if isinstance(given, list) else str(given)
        return f"all but {listed}" if f"Not{name}" in statement else listed

    condition = " under conditions" if statement.get("Condition") else ""
    return f"{statement['Effect']} {patterns('Action')} on {patterns('Resource')}{condition}"


def _show_secrets(key: dict[str, str], as_json: bool) -> None:
    names = ("accessKeyId", "secretAccessKey", "sessionToken", "expires")
    if as_json:
        shown = ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
        write_json({"Version": 1} | {title: key[name] for title, name in zip(shown, names, strict=True) if name in key})
        return
    shown = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION")
    lines = [f"{title}={key[name]}\n" for title, name in zip(shown, names, strict=True) if name in key]
    write_bytes("".join(lines).encode())


def _path(file: Path | None) -> Path:
    named = file or variables().get(FILE_VARIABLE)
    if not named:
        raise CommandError(f"say which file: --file FILE, or {FILE_VARIABLE}", USAGE)
    return Path(named).expanduser()


def _read(path: Path) -> dict[str, Any]:
    """The document of a file that could be served."""
    if not path.exists():
        raise CommandError(f"there is no file {path}; vk credentials create makes it", USAGE)
    try:
        document, _ = read_document(path)
        parse_document(document)
    except CredentialsFileError as error:
        raise CommandError(str(error)) from None
    return document


@contextlib.contextmanager
def _changing(path: Path, *, must_exist: bool = False) -> Iterator[dict[str, Any]]:
    """The document of the file, or a new one; what the block has made of it is written at its end."""
    try:
        with only_editor(path):
            document = _read(path) if must_exist or path.exists() else {"keys": []}
            yield document
            write_document(path, document)
    except CredentialsFileError as error:
        raise CommandError(str(error)) from None
