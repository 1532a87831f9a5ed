"""Calls from function to function: ``invoke()`` and what it is made of."""
