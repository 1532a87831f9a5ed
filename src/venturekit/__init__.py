"""VentureKit for Python: write AWS Lambda functions, run them, call them from one another and ship them."""

__version__ = "0.1.0"
