"""One measurement of a client in a process of its own; prints JSON. usage: client_case.py CLIENT import|call|large"""

import asyncio
import json
import sys
import time

ROUNDS, CALLS, LARGE_CALLS = 8, 100, 4
NAME = "f"
EVENT = b'{"a":1}'
LARGE = b'"' + b"x" * 6_000_000 + b'"'


def venturekit():
    from venturekit.client import LambdaClient

    return LambdaClient().invoke


def boto3():
    import boto3

    client = boto3.client("lambda")
    return lambda name, payload: client.invoke(FunctionName=name, Payload=payload)["Payload"].read()


def venturekit_async():
    from venturekit.client import AsyncLambdaClient

    return AsyncLambdaClient()


def aiobotocore():
    from aiobotocore.session import get_session

    return get_session().create_client("lambda")


async def venturekit_async_call(client, payload):
    await client.invoke(NAME, payload)


async def aiobotocore_call(client, payload):
    answer = await client.invoke(FunctionName=NAME, Payload=payload)
    async with answer["Payload"] as body:
        await body.read()


def cpu_of(calls, count):
    """Microseconds of a call, the least of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        before = time.process_time()
        for _ in range(count):
            calls()
        best = min(best, (time.process_time() - before) / count * 1e6)
    return best


async def async_cpu_of(make, call, payload, count):
    async with make() as client:
        best = float("inf")
        for _ in range(ROUNDS):
            before = time.process_time()
            for _ in range(count):
                await call(client, payload)
            best = min(best, (time.process_time() - before) / count * 1e6)
        return best


def main():
    name, what = sys.argv[1:]
    if what == "import":
        before = time.perf_counter()
        __import__({"venturekit": "venturekit.client"}.get(name, name))
        print(json.dumps({"ms": (time.perf_counter() - before) * 1e3}))
        return
    payload, count = (LARGE, LARGE_CALLS) if what == "large" else (EVENT, CALLS)
    if name in ("venturekit", "boto3"):
        call = globals()[name]()
        print(json.dumps({"us": cpu_of(lambda: call(NAME, payload), count)}))
    else:
        coroutine = async_cpu_of(globals()[name], globals()[f"{name}_call"], payload, count)
        print(json.dumps({"us": asyncio.run(coroutine)}))


if __name__ == "__main__":
    main()
