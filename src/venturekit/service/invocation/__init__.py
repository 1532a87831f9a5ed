"""The one path of every invocation: resolve, admit, assign, answer.

Knows functions and execution environments only by the ports it declares.
"""
