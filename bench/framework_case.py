"""One framework in one process: how long its import takes, or what a call of a handler costs. Prints JSON.

Usage: framework_case.py NAME import|call|invoke [--log]. The handlers all do the same: take JSON, answer JSON with the id of the path.
"""

import json
import os
import sys
import threading
import time

EVENT_HEADERS = {
    "accept": "*/*",
    "accept-language": "de-DE,de;q=0.9,en;q=0.8",
    "authorization": "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x",
    "content-length": "41",
    "content-type": "application/json",
    "host": "abcdefghij.execute-api.us-east-1.amazonaws.com",
    "user-agent": "curl/8.5.0",
    "x-amzn-trace-id": "Root=1-5e6a5e6a-0123456789abcdef01234567",
    "x-forwarded-for": "192.0.2.1",
    "x-forwarded-port": "443",
    "x-forwarded-proto": "https",
}
EVENT = {
    "version": "2.0",
    "routeKey": "POST /users/{id}",
    "rawPath": "/users/42",
    "rawQueryString": "a=1&b=2",
    "headers": EVENT_HEADERS,
    "queryStringParameters": {"a": "1", "b": "2"},
    "pathParameters": {"id": "42"},
    "requestContext": {
        "accountId": "000000000000",
        "apiId": "abcdefghij",
        "domainName": "abcdefghij.execute-api.us-east-1.amazonaws.com",
        "domainPrefix": "abcdefghij",
        "http": {
            "method": "POST",
            "path": "/users/42",
            "protocol": "HTTP/1.1",
            "sourceIp": "192.0.2.1",
            "userAgent": "curl/8.5.0",
        },
        "requestId": "JKJaXmPLvHcESHA=",
        "routeKey": "POST /users/{id}",
        "stage": "$default",
        "time": "12/Mar/2020:19:03:58 +0000",
        "timeEpoch": 1583348638390,
    },
    "body": '{"name": "Alice", "email": "a@example.com"}',
    "isBase64Encoded": False,
}
MODULES = {
    "nothing": (),
    "venturekit": ("venturekit.runtime",),
    "powertools": ("aws_lambda_powertools", "aws_lambda_powertools.event_handler"),
    "chalice": ("chalice",),
    "starlette": ("mangum", "starlette.applications"),
    "fastapi": ("mangum", "fastapi"),
}


class LambdaContext:
    """What a handler's second argument has."""

    function_name = "f"
    function_version = "$LATEST"
    memory_limit_in_mb = 128
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    aws_request_id = "6a79c379-559e-4bc1-b734-df7ba31761df"

    def get_remaining_time_in_millis(self):
        return 3000


def venturekit(kind, log):
    from venturekit.runtime import create_logger, handler

    options = {} if log else {"logger": create_logger(min_level="silent")}

    def sync(body, ctx):
        return {"id": ctx.path_params["id"], "name": body["name"]}

    async def waits(body, ctx):
        return {"id": ctx.path_params["id"], "name": body["name"]}

    if kind == "sync":
        return handler(sync, **options)
    if kind == "async":
        return handler(waits, **options)
    from pydantic import BaseModel

    class User(BaseModel):
        name: str
        email: str

    def model(body, ctx):
        return {"id": ctx.path_params["id"], "name": body.name}

    return handler(model, body=User, **options)


def powertools(kind, log):
    from aws_lambda_powertools.event_handler import APIGatewayHttpResolver

    app = APIGatewayHttpResolver()

    @app.post("/users/<id>")
    def users(id):
        return {"id": id, "name": app.current_event.json_body["name"]}

    return app.resolve


def chalice(kind, log):
    from chalice import Chalice

    app = Chalice(app_name="bench")

    @app.route("/users/{id}", methods=["POST"])
    def users(id):
        return {"id": id, "name": app.current_request.json_body["name"]}

    # Chalice takes events of payload format 1.0 only.
    event = {
        "httpMethod": "POST",
        "resource": "/users/{id}",
        "path": "/users/42",
        "headers": EVENT_HEADERS,
        "multiValueHeaders": {name: [value] for name, value in EVENT_HEADERS.items()},
        "multiValueQueryStringParameters": {"a": ["1"], "b": ["2"]},
        "pathParameters": {"id": "42"},
        "stageVariables": None,
        "requestContext": {
            "resourcePath": "/users/{id}",
            "httpMethod": "POST",
            "path": "/users/42",
            "identity": {"sourceIp": "192.0.2.1"},
            "requestId": "r",
        },
        "body": EVENT["body"],
        "isBase64Encoded": False,
    }
    return lambda _, context: app(event, context)


def starlette(kind, log):
    from mangum import Mangum
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def users(request):
        body = await request.json()
        return JSONResponse({"id": request.path_params["id"], "name": body["name"]})

    return Mangum(Starlette(routes=[Route("/users/{id}", users, methods=["POST"])]), lifespan="off")


def fastapi(kind, log):
    from fastapi import FastAPI
    from mangum import Mangum
    from pydantic import BaseModel

    class User(BaseModel):
        name: str
        email: str

    app = FastAPI()

    @app.post("/users/{id}")
    async def users(id: str, user: User):
        return {"id": id, "name": user.name}

    return Mangum(app, lifespan="off")


def drained_stdout():
    """The standard output as a pipe that somebody reads, as the runtime does; gives the real one back."""
    real, (reading, writing) = os.dup(1), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        while os.read(reading, 1 << 20):
            pass
        os._exit(0)
    os.close(reading)
    os.dup2(writing, 1)
    os.close(writing)
    return real


def calls():
    """CPU of invoke() and of boto3's, each for the same function, in turns."""
    import boto3
    from venturekit.runtime import invoke

    client = boto3.client("lambda", region_name="us-east-1")
    ways = {
        "invoke": lambda: invoke(function="echo", payload={"a": 1}),
        "boto3": lambda: client.invoke(FunctionName="app-dev-fn-echo", Payload=b'{"a": 1}')["Payload"].read(),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(8):
        for name, call in ways.items():
            before = time.process_time()
            for _ in range(100):
                call()
            best[name] = min(best[name], (time.process_time() - before) / 100 * 1e6)
    return best


def main():
    name, what = sys.argv[1:3]
    framework, _, kind = name.partition("-")
    if what == "import":
        before = time.perf_counter()
        for module in MODULES[framework]:
            __import__(module)
        taken = (time.perf_counter() - before) * 1e3
        print(json.dumps({"ms": taken}))
        return
    if what == "invoke":
        print(json.dumps(calls()))
        return
    log = "--log" in sys.argv
    handler = globals()[framework](kind or "sync", log)
    context = LambdaContext()
    real = drained_stdout() if log else os.dup(1)
    result = handler(EVENT, context)
    assert "42" in result["body"], result
    best, spent = float("inf"), time.monotonic()
    while time.monotonic() - spent < 1.0:
        count = 300
        before = time.process_time()
        for _ in range(count):
            handler(EVENT, context)
        best = min(best, (time.process_time() - before) / count * 1e6)
    os.write(real, json.dumps({"us": best, "threads": threading.active_count()}).encode())


if __name__ == "__main__":
    main()
