"""Who may do what: principals, policy statements, the decision about a request, and the file that keeps the keys."""
