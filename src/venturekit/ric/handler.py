"""From a handler's name to something that can be called (AWS: "Define Lambda function handler in Python")."""

from __future__ import annotations

import importlib
import sys

from . import faults

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[Any, Any], Any]

# Coroutines and asynchronous generators.
_CO_ASYNCHRONOUS = 0x80 | 0x200


def resolve_handler(name: str) -> Any:
    """Import `module.path.function`; a slash in the module part separates packages as a dot does.

    Raises FaultError with one of AWS's `Runtime.*` error types; any other exception is the module's own.
    """
    try:
        module_name, function_name = name.rsplit(".", 1)
    except ValueError as error:
        raise faults.FaultError(faults.MALFORMED_HANDLER_NAME, f"Bad handler '{name}': {error}") from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise faults.FaultError(
            faults.BUILT_IN_MODULE_CONFLICT, f"Cannot use built-in module {module_name} as a handler module"
        )
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise faults.FaultError(faults.IMPORT_MODULE_ERROR, message) from None
    except SyntaxError as error:
        message = f"Syntax error in module '{module_name}': {error}"
        place = f'  File "{error.filename}" Line {error.lineno}\n    {error.text}'
        raise faults.FaultError(faults.USER_CODE_SYNTAX_ERROR, message, [place]) from None
    try:
        return getattr(module, function_name)
    except AttributeError:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise faults.FaultError(faults.HANDLER_NOT_FOUND, message) from None


def awaitable_entry(handler: Any) -> Handler:
    """What to call: the handler's `acall` where it has one (its own door for a loop it does not own), else itself.

    One that says it is not asynchronous (`is_async`) is called as AWS's client does it: what it calls may run event
    loops of its own, which no loop may be around.
    """
    entry = getattr(handler, "acall", None)
    return entry if callable(entry) and getattr(handler, "is_async", True) else handler  # type: ignore[no-any-return]


def is_coroutine_function(function: Any) -> bool:
    """Whether a call gives what needs an event loop, a coroutine or an asynchronous generator.

    As far as that can be known without calling (and without `inspect`).
    """
    for _depth in range(16):
        code = getattr(function, "__code__", None)
        if code is not None:
            return bool(code.co_flags & _CO_ASYNCHRONOUS)
        inner = getattr(function, "__func__", None) or getattr(function, "func", None)
        if inner is None:
            inner = next(
                (base.__dict__["__call__"] for base in type(function).__mro__ if "__call__" in base.__dict__), None
            )
        if inner is None or inner is function:
            return False
        function = inner
    return False
