"""What is seen of functions from outside: spans of OpenTelemetry, metrics of CloudWatch."""
