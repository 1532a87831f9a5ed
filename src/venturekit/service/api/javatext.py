"""Values as Java prints them: AWS repeats a refused value in the form of ``String.valueOf``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from venturekit.service.api.quirks import REDACTED

if TYPE_CHECKING:
    from venturekit.service.api.model import Shape


def lower_first(name: str) -> str:
    """A member's name as a Java property: ``KMSKeyArn`` is ``kMSKeyArn``."""
    return name[:1].lower() + name[1:]


def print_value(shape: Shape, value: Any) -> str:
    """``value`` of ``shape`` as text: ``[a, b]``, ``{k=2.0}``, ``OnSuccess(destination=null)``, ``true``.

    Source: recorded messages of the Lambda API. Sensitive parts are replaced.
    """
    if value is None:
        return "null"
    if shape.sensitive:
        return REDACTED
    match shape.kind:
        case "structure":
            inner = (f"{lower_first(m.name)}={print_value(m.shape, value.get(m.name))}" for m in shape.members.values())
            return f"{shape.name}({', '.join(inner)})"
        case "list":
            return f"[{', '.join(_print_element(shape.element, each) for each in value)}]"
        case "map":
            pairs = (f"{_print_element(shape.key, k)}={_print_element(shape.element, v)}" for k, v in value.items())
            return f"{{{', '.join(pairs)}}}"
        case "boolean":
            return "true" if value else "false"
        case "double" | "float":
            return print_double(float(value))
        case "blob":
            size = len(value)
            return f"java.nio.HeapByteBuffer[pos=0 lim={size} cap={size}]"
        case "timestamp":
            return str(value.isoformat())
        case _:
            return str(value)


def print_double(number: float) -> str:
    """A number as ``Double.toString`` prints it: plain from 0.001 below 10000000, else ``1.0E10``."""
    if number == 0 or 1e-3 <= abs(number) < 1e7:
        return repr(number)
    mantissa, _, power = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(power or 0) + len(digits) - len(fraction) - 1
    digits = digits.rstrip("0")
    return f"{'-' if number < 0 else ''}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def _print_element(shape: Shape | None, value: Any) -> str:
    return str(value) if shape is None else print_value(shape, value)
