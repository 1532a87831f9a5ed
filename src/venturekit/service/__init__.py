"""The service: a Lambda of one's own, in one process.

It answers the Lambda API for unmodified clients and the Runtime API for unmodified runtimes, runs functions as
local processes and delivers asynchronous invocations durably. Nothing in this package is meant to be imported by
functions or by clients; they speak HTTP to it.
"""
