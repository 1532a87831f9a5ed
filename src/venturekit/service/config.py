"""The service's settings: each has a flag of ``vk serve`` and a ``VENTUREKIT_*`` variable; the flag wins.

No other module of the service reads ``VENTUREKIT_*`` variables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PREFIX: Final = "VENTUREKIT_"
ISOLATION_LEVELS: Final = ("process", "confined", "namespace")
DEFAULT_CONNECT_PORTS: Final = (
    *(22, 25, 53, 80, 443, 465, 587, 853, 2525, 8443),
    *(389, 636, 1433, 1521, 3306, 5432, 5439, 6379, 6380, 8182, 9042, 9142, 9200, 11211, 27017),
    *(1883, 4222, 5671, 5672, 8883, 9092, 9094, 9096, 9098, 4317, 4318),
)
"""Shell, mail, names, web; databases, caches and directories; queues, streams and telemetry."""

MIN_SECRET_LENGTH: Final = 16
"""Of what is asked for off loopback: a short one is guessed."""

Origin = Literal["flag", "environment", "default"]


class ConfigurationError(ValueError):
    """A setting, or a combination of settings, that cannot be served; the text says what to change."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its name in :class:`Settings`, how its text is read, and what it does."""

    name: str
    read: Callable[[str], Any]
    help: str
    secret: bool = False

    @property
    def flag(self) -> str:
        """The option of ``vk serve``."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()


def _text(text: str) -> str:
    return text


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _switch(text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off", ""):
        return False
    raise ValueError("must be true or false")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be a whole number") from None


def _port(text: str) -> int:
    number = _whole(text)
    if not 0 <= number <= 65535:
        raise ValueError("must be 0 to 65535 (0: any free port)")
    return number


def _count(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise ValueError("must be 1 or more")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("must be a number of seconds") from None
    if not 0 <= number < float("inf"):
        raise ValueError("must be a number of seconds, 0 or more")
    return number


def _hours(text: str) -> float:
    try:
        return _seconds(text)
    except ValueError:
        raise ValueError("must be a number of hours, 0 or more") from None


def _delays(text: str) -> tuple[float, ...]:
    """One or two numbers of seconds, separated by commas."""
    parts = text.split(",")
    wanted = "must be one or two numbers of seconds with a comma between them, such as 60,120: there are two retries"
    if len(parts) > 2:
        raise ValueError(wanted)
    try:
        return tuple(_seconds(part) for part in parts)
    except ValueError:
        raise ValueError(wanted) from None


def _one_of(*values: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in values:
            raise ValueError(f"must be one of {', '.join(values)}")
        return text

    return read


def _matching(pattern: str, meaning: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"must be {meaning}")
        return text

    return read


def _ports(text: str) -> tuple[int, ...]:
    """Numbers separated by commas; the word ``default`` stands for DEFAULT_CONNECT_PORTS."""
    ports: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part == "default":
            ports.update(DEFAULT_CONNECT_PORTS)
            continue
        if not part.isascii() or not part.isdigit() or not 1 <= int(part) <= 65535:
            raise ValueError(
                "must be ports from 1 to 65535, separated by commas; 'default' stands for the default ones"
            )
        ports.add(int(part))
    return tuple(sorted(ports))


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(host.strip().lower() for host in text.split(",") if host.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``vk serve`` was asked for. Times in seconds."""

    host: str = "127.0.0.1"
    port: int = 9001
    front: bool = True
    front_port: int | None = None
    data_dir: Path = Path(".venturekit")
    python_runtime: Literal["ric", "awslambdaric"] = "ric"
    python_start: Literal["fork", "spawn"] = "fork"
    strict_runtimes: bool = False
    account_id: str = "000000000000"
    region: str = "us-east-1"
    concurrency: int = 1000
    async_retry_delays: tuple[float, ...] = (60.0, 120.0)
    async_concurrency: int = 16
    async_queue_limit: int = 1_000_000
    event_history_hours: float = 72.0
    event_history_limit: int = 100_000
    idle_timeout: float = 600.0
    drain_timeout: float = 10.0
    allow_host: tuple[str, ...] = ()
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    credentials: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    behind_tls: bool = False
    isolation: Literal["auto", "process", "confined", "namespace"] = "process"
    require_isolation: str = "process"
    accept_isolation_gaps: bool = False
    connect_ports: tuple[int, ...] = tuple(sorted(DEFAULT_CONNECT_PORTS))
    bind_ports: tuple[int, ...] = ()
    pass_aws_credentials: bool = False
    allow_aws: bool = False
    log_dir: Path | None = None
    log_dir_limit_mb: int = 500
    log_dir_days: int = 14
    log_level: str = "info"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host in ("localhost", "127.0.0.1"):
            return True
        import ipaddress  # rarely needed, and dear to import

        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


SETTINGS: Final = (
    Setting("host", _text, "Address to listen on. Another one than loopback takes access keys, TLS and --isolation."),
    Setting("port", _port, "Port of the Lambda API; 0 takes any free port."),
    Setting("front", _switch, "Serve function URLs, by a process of its own that is started when there is a URL."),
    Setting(
        "front_port",
        _port,
        "Port of function URLs; 0 takes any free one. Without it the one after --port, or a free one if that is taken.",
    ),
    Setting("data_dir", _path, "Directory that keeps functions and their code; empty or new at the first start."),
    Setting(
        "python_runtime",
        _one_of("ric", "awslambdaric"),
        "What runs Python functions: our runtime interface client (ric), or AWS's own, unmodified (awslambdaric).",
    ),
    Setting(
        "python_start",
        _one_of("fork", "spawn"),
        "How Python environments start: forked from a prepared process (fork), or as new processes (spawn).",
    ),
    Setting(
        "strict_runtimes", _switch, "Refuse a runtime whose exact Python or Node.js version is not on this machine."
    ),
    Setting("account_id", _matching(r"\d{12}", "12 digits"), "Account id in ARNs."),
    Setting(
        "region",
        _matching(r"(eusc-)?[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-\d", "a region such as us-east-1"),
        "Region in ARNs and signatures.",
    ),
    Setting("concurrency", _count, "Invocations that may run or wait at once, over all functions; more get a 429."),
    Setting(
        "async_retry_delays",
        _delays,
        "Seconds after which an event whose function failed is run again, the first and the second time; AWS's are "
        "60,120.",
    ),
    Setting("async_concurrency", _count, "Events of one function that are run at once."),
    Setting("async_queue_limit", _count, "Events that may be queued; more get a 429."),
    Setting("event_history_hours", _hours, "Hours for which events that have ended are kept for vk events."),
    Setting("event_history_limit", _count, "How many events that have ended are kept at most."),
    Setting("idle_timeout", _seconds, "Seconds after which an idle execution environment is let go."),
    Setting("drain_timeout", _seconds, "Seconds that running invocations get to finish when the service ends."),
    Setting("allow_host", _hosts, "Further host names by which the service may be addressed, separated by commas."),
    Setting(
        "access_key_id",
        _text,
        "Access key that may do everything. Without it and without credentials signatures are not checked.",
    ),
    Setting("secret_access_key", _text, "Secret of the access key.", secret=True),
    Setting(
        "credentials",
        _path,
        "File with access keys and what they may do (vk credentials makes it): only they are let in.",
    ),
    Setting("tls_certificate", _path, "PEM file with the certificate chain: serve HTTPS."),
    Setting("tls_key", _path, "PEM file with the private key of the certificate."),
    Setting("behind_tls", _switch, "A proxy in front of the service speaks TLS."),
    Setting(
        "isolation",
        _one_of("auto", *ISOLATION_LEVELS),
        "How functions are kept apart: as processes (process), confined by the kernel (confined), with a file system "
        "and processes of their own as well (namespace), or as far as this kernel can (auto). See docs/isolation.md.",
    ),
    Setting("require_isolation", _one_of(*ISOLATION_LEVELS), "Refuse to start below this isolation level."),
    Setting(
        "accept_isolation_gaps",
        _switch,
        "Start at an isolation level also where an older kernel cannot do a part of it; the log names the parts.",
    ),
    Setting(
        "connect_ports",
        _ports,
        "TCP ports to which functions may connect from 'confined' on; 'default,8080' adds to the default ones.",
    ),
    Setting(
        "bind_ports",
        _ports,
        "TCP ports on which functions may listen from 'confined' on, besides those the kernel chooses (port 0).",
    ),
    Setting(
        "pass_aws_credentials",
        _switch,
        "Hand the service's own AWS credentials to functions (else they get local ones).",
    ),
    Setting(
        "allow_aws",
        _switch,
        "Let the service itself call AWS, for code in S3 and to send to destinations, where no AWS_ENDPOINT_URL_S3, "
        "_SQS, _SNS, _EVENTBRIDGE or AWS_ENDPOINT_URL names another place.",
    ),
    Setting("log_dir", _path, "Directory that keeps the logs of functions across restarts. Without it memory does."),
    Setting("log_dir_limit_mb", _count, "How many MB of logs are kept there at most; the oldest files go first."),
    Setting("log_dir_days", _count, "Days for which logs are kept there."),
    Setting("log_level", _one_of("debug", "info", "warning", "error"), "How much the service itself logs."),
)


def load_settings(flags: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Settings, dict[str, Origin]]:
    """The settings and where each comes from. ``flags`` holds parsed values by name, None where not given.

    Raises ConfigurationError naming the flag or variable at fault.
    """
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for setting in SETTINGS:
        given = flags.get(setting.name)
        text = environ.get(setting.variable)
        if given is not None:
            values[setting.name] = _read(setting, given, setting.flag)
            origins[setting.name] = "flag"
        elif text is not None and text != "":
            values[setting.name] = _read(setting, text, setting.variable)
            origins[setting.name] = "environment"
        else:
            origins[setting.name] = "default"
    settings = Settings(**values)
    check_settings(settings)
    return settings, origins


def _read(setting: Setting, given: Any, name: str) -> Any:
    text = ",".join(str(item) for item in given) if isinstance(given, (list, tuple)) else str(given)
    try:
        return setting.read(text)
    except ValueError as error:
        shown = "" if setting.secret else f" {text!r}"
        raise ConfigurationError(f"{name}{shown}: {error}") from error


def check_settings(settings: Settings) -> None:
    """Refuse combinations that are unsafe or contradictory. Raises ConfigurationError."""
    if bool(settings.access_key_id) != bool(settings.secret_access_key):
        raise ConfigurationError("--access-key-id and --secret-access-key go together: give both or neither")
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise ConfigurationError("--tls-certificate and --tls-key go together: give both or neither")
    if settings.isolation != "auto" and _rank(settings.isolation) < _rank(settings.require_isolation):
        raise ConfigurationError(
            f"--isolation {settings.isolation} is below --require-isolation {settings.require_isolation}: use "
            f"--isolation {settings.require_isolation}, or auto"
        )
    if settings.is_loopback:
        return
    missing = []
    if not settings.access_key_id and settings.credentials is None:
        missing.append(
            "access keys (--credentials, or --access-key-id and --secret-access-key), so that only their holders can "
            "run code here"
        )
    if 0 < len(settings.secret_access_key) < MIN_SECRET_LENGTH:
        missing.append(f"a --secret-access-key of {MIN_SECRET_LENGTH} characters or more")
    if not settings.tls_certificate and not settings.behind_tls:
        missing.append("TLS (--tls-certificate and --tls-key, or --behind-tls)")
    if settings.isolation == "process":
        missing.append("functions that are kept apart (--isolation confined, namespace or auto)")
    if not missing:
        return
    raise ConfigurationError(
        f"--host {settings.host} is not a loopback address. To serve others takes {', and '.join(missing)}. "
        "Use 127.0.0.1, and a tunnel to reach it from elsewhere"
    )


def least_isolation(settings: Settings) -> str:
    """The level below which the service does not start: off loopback it runs what others send it."""
    if settings.is_loopback or settings.require_isolation != "process":
        return settings.require_isolation
    return "confined"


def _rank(level: str) -> int:
    return ISOLATION_LEVELS.index(level)


def shown_value(settings: Settings, setting: Setting) -> str:
    """A setting's value for people; secrets are masked."""
    value = getattr(settings, setting.name)
    if setting.secret:
        return "(set)" if value else ""
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return "" if value is None else str(value)


assert {setting.name for setting in SETTINGS} == {item.name for item in fields(Settings)}
