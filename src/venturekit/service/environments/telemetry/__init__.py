"""The Telemetry and Logs APIs: what extensions subscribe to, and how it reaches them."""
