"""Execution environments: their life cycle, pool, launcher, Runtime API, extensions and logs."""
