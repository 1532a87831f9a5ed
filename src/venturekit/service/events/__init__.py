"""Asynchronous invocation: a durable queue, retries, destinations and dead letters.

After ``202`` an event is on disk. It runs at least once, or ends with a reason; it may run more than once, and order is
not kept. Source: AWS Lambda Developer Guide, "Invoking a Lambda function asynchronously".
"""
