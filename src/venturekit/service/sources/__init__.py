"""Event source mappings: what polls queues and invokes functions with what it finds there.

Decisions are in ``filter_patterns``, ``messages``, ``batches``, ``responses``, ``mapping`` and ``states``; ``poller``,
``mappings`` and ``operations`` carry them out.
"""
