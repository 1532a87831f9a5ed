"""Blocking HTTP/1.1 over connections that are kept: what the client, the framework and ``vk`` carry requests with."""
