"""Polling of queues in a process of its own, so that what is invoked meanwhile does not wait for it.

In the service: ``pollers`` are what its mappings work with, ``process`` runs the helper process, ``channel`` is the
socket between the two, in ``frames``. In the helper process: ``helper`` runs ``service.sources.poller`` for each
mapping, with ``functions`` for the function that the service has, and ``sqs`` for the queue.
"""
