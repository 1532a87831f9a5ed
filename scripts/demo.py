"""A tour of the service, driven by boto3 and the AWS CLI as they come from AWS. Started by scripts/demo."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BIN = Path(sys.executable).parent
ROLE = "arn:aws:iam::000000000000:role/demo"
RUNTIME = f"python3.{sys.version_info.minor}"

PYTHON_SOURCE = '''\
"""A function as one would upload it to AWS Lambda."""
STOCK = {"apple": 3, "pear": 0}


def handler(event, context):
    item = event["item"]
    print(f"looking for {item}, {context.get_remaining_time_in_millis()} ms left")
    return {"item": item, "in_stock": count(item), "version": context.function_version}


def count(item):
    if item not in STOCK:
        raise LookupError(f"we never sold {item}")
    return STOCK[item]
'''

LAYER_SOURCE = """PRICES = {"apple": 0.4, "pear": 0.6}\n"""
LAYER_USER_SOURCE = """\
import catalogue


def handler(event, context):
    return {"item": event["item"], "price": catalogue.PRICES[event["item"]]}
"""
FAILING_SOURCE = """\
def handler(event, context):
    raise RuntimeError(f"no courier for {event['order']}")
"""
# A destination: what it is given is what AWS sends there.
COLLECTOR_SOURCE = """\
import json, os


def handler(record, context):
    path = os.environ["COLLECTED"]
    with open(path + ".new", "w") as file:
        json.dump(record, file)
    os.rename(path + ".new", path)
"""
OTHER_ACCOUNT = "111122223333"

# Writes a piece, works a while, writes the next one.
STREAM_DELAY_MS = 90
STREAM_PIECES = ("Once upon", " a time", " there was", " a function", " that spoke", " as it thought.")
STREAM_SOURCE = f"""\
const work = () => new Promise((done) => setTimeout(done, {STREAM_DELAY_MS}));
export const handler = awslambda.streamifyResponse(async (event, stream) => {{
  for (const piece of {json.dumps(STREAM_PIECES)}) {{
    stream.write(piece);
    await work();
  }}
  stream.end();
}});
"""

# The calls of the runtime interface as its documentation shows them, in a loop.
BASH_SOURCE = """\
#!/usr/bin/env bash
set -eu
while true; do
  headers=$(mktemp)
  event=$(curl -sS -D "$headers" "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/next")
  request_id=$(grep -i '^lambda-runtime-aws-request-id:' "$headers" | cut -d: -f2 | tr -d '[:space:]')
  rm -f "$headers"
  echo "bash got $event" >&2
  curl -sS -X POST "http://${AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/invocation/$request_id/response" -d "SUCCESS"
done
"""


class DemoError(Exception):
    """A step did not give what it must give."""


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def show(label: str, value: object) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    first, *more = text.rstrip("\n").splitlines() or [""]
    print(f"   {label:<12}{first}", *(f"   {'':<12}{line}" for line in more), sep="\n", flush=True)


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise DemoError(what)


def archive(name: str, source: str, mode: int = 0o644) -> bytes:
    """A zip with one file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zipped:
        entry = zipfile.ZipInfo(name, (2024, 1, 1, 0, 0, 0))
        entry.external_attr = (0o100000 | mode) << 16
        zipped.writestr(entry, source)
    return target.getvalue()


def descendants(pid: int) -> list[int]:
    """A process and everything it started."""
    found = [pid]
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in listing.read_text().split():
                found += descendants(int(child))
    return found


def alive(pid: int) -> bool:
    """Whether the process still runs (a zombie does not)."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def clean() -> dict[str, str]:
    """The environment without the user's own settings of AWS and of the service."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "VENTUREKIT_"))}


class Service:
    """``vk serve`` on a free port with an empty data directory."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="venturekit-demo-"))
        self.log = self.folder / "service.log"
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; gives the milliseconds until it was ready. Raises DemoError after 30 s."""
        ready = self.folder / "ready"
        command = [str(BIN / "vk"), "serve", "--port", "0", "--ready-file", str(ready)]
        # Retries after 0.2 and 0.4 s: AWS's minutes would be long for a tour.
        command += ["--data-dir", str(self.folder / "data"), "--async-retry-delays", "0.2,0.4"]
        show("command", "vk " + shlex.join(command[1:]))
        begin = time.perf_counter()
        with self.log.open("wb") as output:
            # A session of its own: it outlives this script when it is to be kept, Ctrl-C or not.
            self._process = subprocess.Popen(
                command, env=clean(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        while not (ready.exists() and ready.stat().st_size > 8):
            if self._process.poll() is not None or time.perf_counter() - begin > 30:
                raise DemoError("the service did not get ready")
            time.sleep(0.002)
        self.url = ready.read_text().strip()
        return (time.perf_counter() - begin) * 1e3

    def stop(self) -> None:
        """End it. Raises DemoError when any process that it started is left after 5 s."""
        if self._process is not None:
            started = descendants(self._process.pid)
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait(10)
            give_up = time.monotonic() + 5
            while (left := [pid for pid in started if alive(pid)]) and time.monotonic() < give_up:
                time.sleep(0.01)
            expect(not left, f"processes left running: {left}")
            print(f"\nThe service and the {len(started) - 1} processes it had started are gone.")
        shutil.rmtree(self.folder, ignore_errors=True)

    def print_log(self) -> None:
        """The end of its log, for a step that failed."""
        if self.log.exists():
            print(
                "--- the service's log ends with:", *self.log.read_text(errors="replace").splitlines()[-30:], sep="\n"
            )

    def keep(self) -> None:
        """Leave it running and say how to reach and how to end it."""
        assert self._process is not None
        print(f"\nKEEP=1: the service is still running (log: {self.log}). To use it:")
        print(f"\n  export AWS_ENDPOINT_URL_LAMBDA={self.url} AWS_DEFAULT_REGION=us-east-1")
        print("  export AWS_ACCESS_KEY_ID=anything AWS_SECRET_ACCESS_KEY=anything")
        print(f"\nTo end it: kill {self._process.pid}; rm -r {shlex.quote(str(self.folder))}")


def environment(url: str) -> dict[str, str]:
    """What AWS's tools see: the endpoint, made-up credentials, and nothing of the user's own configuration."""
    return clean() | {
        "AWS_ENDPOINT_URL_LAMBDA": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "anything",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
    }


def invoke(client: Any, name: str, event: object, **options: str) -> tuple[Mapping[str, Any], bytes, float]:
    """One synchronous invoke: the response, its payload, and the milliseconds it took."""
    begin = time.perf_counter()
    response = client.invoke(FunctionName=name, Payload=json.dumps(event), **options)
    payload: bytes = response["Payload"].read()
    return response, payload, (time.perf_counter() - begin) * 1e3


def log_tail(response: Mapping[str, Any]) -> str:
    return base64.b64decode(response["LogResult"]).decode()


def create(client: Any, name: str, runtime: str, handler: str, code: bytes, layers: tuple[str, ...] = ()) -> None:
    begin = time.perf_counter()
    client.create_function(
        FunctionName=name,
        Runtime=runtime,
        Role=ROLE,
        Handler=handler,
        Code={"ZipFile": code},
        Timeout=10,
        Layers=list(layers),
    )
    client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    show(
        "active",
        f"{name} ({runtime}) after {(time.perf_counter() - begin) * 1e3:.0f} ms; the waiter looks once a second",
    )


def python_function(client: Any) -> None:
    heading("Create a Python function from a zip and wait for function_active_v2 (boto3)")
    create(client, "stock", RUNTIME, "app.handler", archive("app.py", PYTHON_SOURCE))

    heading("Invoke it: the first call starts an execution environment, the next ones find it warm")
    _, payload, cold_ms = invoke(client, "stock", {"item": "apple"})
    show("answer", payload.decode())
    expect(json.loads(payload)["in_stock"] == 3, f"unexpected answer {payload!r}")
    warm = sorted(invoke(client, "stock", {"item": "apple"})[2] for _ in range(50))
    show("cold", f"{cold_ms:.1f} ms as boto3 sees it")
    show("warm", f"{warm[25]:.1f} ms, the median of {len(warm)}")

    heading("The log tail of an invoke (LogType=Tail)")
    response, _, _ = invoke(client, "stock", {"item": "pear"}, LogType="Tail")
    tail = log_tail(response)
    show("log", tail)
    expect("looking for pear" in tail and "REPORT RequestId:" in tail, "the log tail is incomplete")

    heading("A function that raises: the error is an answer, with its stack trace")
    response, payload, _ = invoke(client, "stock", {"item": "melon"})
    error = json.loads(payload)
    show("status", f"{response['StatusCode']}, FunctionError={response.get('FunctionError')}")
    show("error", f"{error['errorType']}: {error['errorMessage']}")
    show("trace", "".join(error["stackTrace"]))
    expect(response.get("FunctionError") == "Unhandled" and error["errorType"] == "LookupError", "no function error")


def version_and_alias(client: Any) -> None:
    heading("Publish a version and point an alias at it")
    version = client.publish_version(FunctionName="stock", Description="the demo's first")["Version"]
    alias = client.create_alias(FunctionName="stock", Name="live", FunctionVersion=version)
    show("version", version)
    show("alias", alias["AliasArn"])
    response, payload, _ = invoke(client, "stock", {"item": "apple"}, Qualifier="live")
    show("answer", f"{payload.decode()} (executed version {response['ExecutedVersion']})")
    expect(response["ExecutedVersion"] == version, f"the alias ran version {response['ExecutedVersion']}")


def weighted_alias(client: Any) -> None:
    heading("A second version, and an alias that gives it half of the traffic")
    client.update_function_configuration(FunctionName="stock", Environment={"Variables": {"STAGE": "next"}})
    client.get_waiter("function_updated_v2").wait(FunctionName="stock", WaiterConfig={"Delay": 1, "MaxAttempts": 20})
    version = client.publish_version(FunctionName="stock")["Version"]
    routing = {"AdditionalVersionWeights": {version: 0.5}}
    client.update_alias(FunctionName="stock", Name="live", RoutingConfig=routing)
    show("routing", routing)
    ran = Counter(invoke(client, "stock", {"item": "apple"}, Qualifier="live")[0]["ExecutedVersion"] for _ in range(60))
    show("60 invokes", ", ".join(f"version {name}: {count}" for name, count in sorted(ran.items())))
    expect(set(ran) == {"1", version}, f"the alias ran {dict(ran)}")


def layer(client: Any) -> None:
    heading("A layer: published once, imported by a function that names it")
    content = {"ZipFile": archive("python/catalogue.py", LAYER_SOURCE)}
    arn = client.publish_layer_version(LayerName="catalogue", Content=content)["LayerVersionArn"]
    show("layer", arn)
    create(client, "prices", RUNTIME, "app.handler", archive("app.py", LAYER_USER_SOURCE), (arn,))
    _, payload, _ = invoke(client, "prices", {"item": "pear"})
    show("answer", payload.decode())
    expect(json.loads(payload)["price"] == 0.6, f"unexpected answer {payload!r}")


def other_account(owner: Any) -> None:
    heading("Another account (an access key of 12 digits) is denied until the function's policy lets it in")
    stranger = boto3.client(
        "lambda",
        aws_access_key_id=OTHER_ACCOUNT,
        aws_secret_access_key="anything",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
    )
    arn = owner.get_function(FunctionName="stock")["Configuration"]["FunctionArn"]
    try:
        invoke(stranger, arn, {"item": "apple"})
    except ClientError as error:
        answer = error.response
        show("denied", f"{answer['ResponseMetadata']['HTTPStatusCode']} {answer['Error']['Code']}")
        expect(answer["Error"]["Code"] == "AccessDeniedException", f"not a denial: {error}")
    else:
        raise DemoError("another account could invoke without a permission")
    permission = owner.add_permission(
        FunctionName="stock", StatementId="other", Action="lambda:InvokeFunction", Principal=OTHER_ACCOUNT
    )
    show("permission", permission["Statement"])
    _, payload, _ = invoke(stranger, arn, {"item": "apple"})
    show("answer", payload.decode())
    expect(json.loads(payload)["in_stock"] == 3, f"unexpected answer {payload!r}")


def failing_event(client: Any, folder: Path, url: str) -> None:
    heading("An asynchronous invoke that fails, is retried, fails again, and arrives at its failure destination")
    collected = folder / "record.json"
    create(client, "deliver", RUNTIME, "app.handler", archive("app.py", FAILING_SOURCE))
    create(client, "collector", RUNTIME, "app.handler", archive("app.py", COLLECTOR_SOURCE))
    client.update_function_configuration(
        FunctionName="collector", Environment={"Variables": {"COLLECTED": str(collected)}}
    )
    target = client.get_function(FunctionName="collector")["Configuration"]["FunctionArn"]
    config = client.put_function_event_invoke_config(
        FunctionName="deliver", MaximumRetryAttempts=1, DestinationConfig={"OnFailure": {"Destination": target}}
    )
    show("on failure", config["DestinationConfig"]["OnFailure"]["Destination"])
    accepted = client.invoke(FunctionName="deliver", InvocationType="Event", Payload=json.dumps({"order": 7}))
    request_id = accepted["ResponseMetadata"]["RequestId"]
    show("accepted", f"{accepted['StatusCode']}, request id {request_id}: the event is on disk")
    give_up = time.monotonic() + 20
    while not collected.exists():
        expect(time.monotonic() < give_up, "no record arrived at the failure destination")
        time.sleep(0.01)
    record = json.loads(collected.read_text())
    show("record", json.dumps(record, indent=2))
    context = record["requestContext"]
    expect(
        (context["requestId"], context["condition"], context["approximateInvokeCount"], record["requestPayload"])
        == (request_id, "RetriesExhausted", 2, {"order": 7})
        and record["responseContext"]["functionError"] == "Unhandled"
        and record["responsePayload"]["errorMessage"] == "no courier for 7",
        f"not the record of this event: {record}",
    )
    command = [str(BIN / "vk"), "events", "show", request_id, "--endpoint-url", url]
    show("command", "vk " + shlex.join(command[1:]))
    done = subprocess.run(command, env=environment(url), check=False, capture_output=True, text=True, timeout=60)
    expect(done.returncode == 0, f"vk events exited with {done.returncode}: {done.stderr.strip()}")
    show("history", done.stdout)


def streamed_function(client: Any) -> None:
    heading("A Node.js function that streams: each piece is here while the function works on the next one")
    create(client, "story", "nodejs20.x", "app.handler", archive("app.mjs", STREAM_SOURCE))
    begin = time.perf_counter()
    answer = client.invoke_with_response_stream(FunctionName="story", Payload=b"{}")
    pieces: list[str] = []
    arrivals_ms: list[float] = []
    complete: Mapping[str, str] = {}
    for event in answer["EventStream"]:
        arrivals_ms.append((time.perf_counter() - begin) * 1e3)
        if "PayloadChunk" in event:
            pieces.append(event["PayloadChunk"]["Payload"].decode())
            show(f"{arrivals_ms[-1]:.0f} ms", pieces[-1].strip())
        else:
            complete = event["InvokeComplete"]
    if "Runtime.InvalidRuntime" in complete.get("ErrorDetails", ""):
        show("left out", "This step needs Node.js 18 or newer, and there is none on this machine.")
        return
    show(f"{arrivals_ms[-1]:.0f} ms", "InvokeComplete")
    expect(not complete, f"the stream failed: {complete}")
    expect("".join(pieces) == "".join(STREAM_PIECES), f"not what the function wrote: {pieces}")
    # Two pieces may share a packet on a busy machine; all of them at the end would be no stream.
    lasted_ms = arrivals_ms[-1] - arrivals_ms[0]
    expect(len(pieces) > 2 and lasted_ms > STREAM_DELAY_MS * 3, f"the pieces came together: {arrivals_ms}")


def bash_function(client: Any) -> None:
    heading("A custom runtime: bash and curl, the runtime interface's own examples in a loop")
    if not (shutil.which("bash") and shutil.which("curl")):
        raise DemoError("this step needs bash and curl on PATH (Debian: apt-get install bash curl)")
    create(client, "shell", "provided.al2023", "unused", archive("bootstrap", BASH_SOURCE, 0o755))
    response, payload, taken_ms = invoke(client, "shell", {"hello": "bash"}, LogType="Tail")
    show("answer", f"{payload.decode()} in {taken_ms:.0f} ms")
    show("log", log_tail(response))
    expect(payload == b"SUCCESS", f"unexpected answer {payload!r}")


def command_line(url: str) -> None:
    heading("The AWS CLI lists the functions, signed and with --no-sign-request")
    listing = ["lambda", "list-functions", "--query", "Functions[].[FunctionName,Runtime,Handler]", "--output", "text"]
    outputs = []
    for extra in ([], ["--no-sign-request"]):
        command = [*listing, *extra]
        show("command", "aws " + shlex.join(command))
        done = subprocess.run(
            [str(BIN / "aws"), *command], env=environment(url), check=False, capture_output=True, text=True, timeout=60
        )
        expect(done.returncode == 0, f"aws exited with {done.returncode}: {done.stderr.strip()}")
        outputs.append(sorted(line.split("\t")[0] for line in done.stdout.splitlines()))
        show("output", done.stdout.expandtabs(20))
    expect(
        outputs == [["collector", "deliver", "prices", "shell", "stock", "story"]] * 2, f"unexpected lists {outputs}"
    )


@contextlib.contextmanager
def running(keep: bool) -> Iterator[Service]:
    """The service, stopped at the end however the tour ends, unless it went well and is to be kept."""
    service = Service()
    try:
        yield service
    except BaseException:
        service.print_log()
        service.stop()
        raise
    if keep:
        service.keep()
    else:
        service.stop()


def tour(service: Service) -> None:
    heading("Start the service: a free port, an empty data directory, no Docker, no account")
    ready_ms = service.start()
    show("ready", f"{service.url} after {ready_ms:.0f} ms")
    os.environ.clear()
    os.environ.update(environment(service.url))
    client = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}, read_timeout=30))
    python_function(client)
    version_and_alias(client)
    weighted_alias(client)
    layer(client)
    other_account(client)
    failing_event(client, service.folder, service.url)
    streamed_function(client)
    bash_function(client)
    command_line(service.url)


def main() -> int:
    """Exit status 0 when every step gave what it must give, else 1."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    begin = time.perf_counter()
    try:
        with running(keep=os.environ.get("KEEP") == "1") as service:
            tour(service)
        print(f"Done in {time.perf_counter() - begin:.1f} s.")
    except (DemoError, BotoCoreError, ClientError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
