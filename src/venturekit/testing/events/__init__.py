"""Events of every trigger of Lambda, as AWS makes them."""
