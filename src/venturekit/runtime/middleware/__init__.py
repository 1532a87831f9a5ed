"""The middleware that comes with the framework, one module each. Every one of them serves requests and tasks.

Whatever the order in the list, a handler goes through them, and through its own steps, like this: error boundary,
access log, answers to preflights (``cors_middleware``), the other middleware as listed, scopes, validation,
transaction, function.
"""
