"""The service's own figures: what they are, and the forms in which they are read. Pure."""
