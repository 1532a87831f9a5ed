"""The HTTP/1.1 listener: one code for the Lambda API and for every execution environment's Runtime API.

It knows nothing of Lambda: an :class:`~venturekit.service.wire.exchange.Application` gets whole or streamed
requests and answers them. asyncio.Protocol + httptools; uvloop where it is installed, the stock loop otherwise.
"""
