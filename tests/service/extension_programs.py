"""Extensions for tests: programs as a layer carries them, one in bash and one in Python."""

from __future__ import annotations

import sys

# Registers and tells of every event on its standard output. Needs curl.
BASH = r"""#!/bin/bash
API="http://${AWS_LAMBDA_RUNTIME_API}/2020-01-01/extension"
NAME="$(basename "$0")"
ID="$(curl -sS -D - -o /dev/null -X POST "$API/register" -H "Lambda-Extension-Name: $NAME" \
  -d '{"events":["INVOKE","SHUTDOWN"]}' | grep -i '^lambda-extension-identifier' | tr -d '[:space:]' | cut -d: -f2)"
echo "$NAME registered as $ID in $PWD with ${_HANDLER:-no handler}"
while true; do
  EVENT="$(curl -sS "$API/event/next" -H "Lambda-Extension-Identifier: $ID")"
  echo "$NAME got $EVENT"
  case "$EVENT" in *SHUTDOWN*) exit 0 ;; esac
done
"""

# What the Python extensions of tests share; SCRIPT, which follows it, says what the extension does.
_PYTHON = """#!{python} -S
import http.client, json, os, signal, socket, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = os.path.basename(sys.argv[0])
ADDRESS = os.environ["AWS_LAMBDA_RUNTIME_API"]
PREFIX = "/2020-01-01/extension"
IDENTIFIER = {{}}


def call(method, path, body=None, **headers):
    connection = http.client.HTTPConnection(ADDRESS)
    given = {{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, path, None if body is None else json.dumps(body), given | IDENTIFIER)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, answer.headers, json.loads(data) if data else None


def register(*events, name=NAME):
    status, headers, body = call("POST", PREFIX + "/register", {{"events": events}}, Lambda_Extension_Name=name)
    if status == 200:
        IDENTIFIER["Lambda-Extension-Identifier"] = headers["Lambda-Extension-Identifier"]
    return status, body


def next_event():
    return call("GET", PREFIX + "/event/next")[2]


def report(what, error_type):
    error = {{"errorMessage": "m", "errorType": error_type, "stackTrace": []}}
    return call("POST", PREFIX + what, error, Lambda_Extension_Function_Error_Type=error_type)[0]


def say(*words):
    print(NAME, *words, flush=True)


def until_shutdown():
    while (event := next_event())["eventType"] != "SHUTDOWN":
        say("got", json.dumps(event))
    say("ends by", event["shutdownReason"])


class Receiver(BaseHTTPRequestHandler):
    STATUSES = []

    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.STATUSES.pop(0) if self.STATUSES else 200)
        self.end_headers()
        self.took(json.loads(data))

    do_PUT = do_POST

    def took(self, events):
        with open(os.path.join(os.environ["SINK"], NAME), "a") as sink:
            sink.writelines(json.dumps(event) + "\\n" for event in events)

    def log_message(self, *_):
        pass


def listen(handler=Receiver):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def subscribe(port, api="/2022-07-01/telemetry", **members):
    body = {{
        "schemaVersion": "2022-12-13",
        "types": ["platform", "function", "extension"],
        "buffering": {{"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25}},
        "destination": {{"protocol": "HTTP", "URI": "http://sandbox.localdomain:%d/in" % port}},
    }}
    return call("PUT", api, {{**body, **members}})[::2]


"""


def python_extension(script: str) -> str:
    """A program in this test's own Python that has the helpers above."""
    return _PYTHON.format(python=sys.executable) + script
