"""Isolation levels of execution environments: what they are, what the kernel can do, and how a process enters one.

Two sides. Of the service: `levels` (which level is used), `policy` (what a function may reach), `probe` (what this
kernel can do). Of the child that becomes a main process: `confine`, and below it `namespaces`, `landlock`, `seccomp`
and `kernel`. The launcher loads this package by its path under another name, so the child's side imports only its own
siblings and the standard library, and runs on CPython 3.9 and later.
"""
