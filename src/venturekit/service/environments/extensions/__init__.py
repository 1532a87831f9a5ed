"""Extensions of execution environments: the Extensions API, their processes, and their part in the life cycle."""
