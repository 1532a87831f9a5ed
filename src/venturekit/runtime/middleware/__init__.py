"""The middleware that comes with the framework, one module each."""
