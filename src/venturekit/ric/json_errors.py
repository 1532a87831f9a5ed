"""Why an event is not JSON, in the words AWS's client uses.

It parses events with `simplejson`, whose complaints differ a little from the standard library's (and those differ
between Python versions). Imported only once there is something to complain about.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from json import JSONDecodeError

_WHITE_SPACE = " \t\n\r"
_PLAIN_COMMA = "Expecting ',' delimiter"


def reason_in_aws_words(error: JSONDecodeError) -> str:
    """The text for an error of the standard library's decoder."""
    message, document, position = error.msg, error.doc, error.pos
    if message == "Extra data":
        start, end = _place(document, position), _place(document, len(document))
        return f"Extra data: {start} - {end} (char {position} - {len(document)})"
    if message.startswith("Invalid control character"):
        message = f"Invalid control character {document[position]!r} at"
    elif message.startswith("Invalid \\escape"):
        message, position = f"Invalid \\X escape sequence {document[position + 1 : position + 2]!r}", position + 1
    elif message.startswith("Invalid \\uXXXX escape"):
        message, position = _escape_reason(document, position)
    elif message == _PLAIN_COMMA:
        message += " or " + ("']'" if _container(document, position) == "[" else "'}'")
    else:
        message, position = _structural_reason(message, document, position)
    return f"{message}: {_place(document, position)} (char {position})"


def reason_for_constant(document: str) -> str:
    """The text for NaN, Infinity or -Infinity, which are values for the standard library only."""
    position = _outside_strings(document, ("NaN", "Infinity", "-Infinity"))
    message, position = _structural_reason("Expecting value", document, position)
    return f"{message}: {_place(document, position)} (char {position})"


def _structural_reason(message: str, document: str, position: int) -> tuple[str, int]:
    before = position - 1
    while before >= 0 and document[before] in _WHITE_SPACE:
        before -= 1
    previous = document[before] if before >= 0 else ""
    following = document[position : position + 1]
    if message.startswith("Illegal trailing comma"):
        return message, position
    if message == "Expecting value":
        if previous == "[" and not following:
            return "Expecting value or ']'", position
        if previous == "," and following == "]":
            return "Illegal trailing comma before end of array", before
    if message.startswith("Expecting property name"):
        if previous == "{":
            return "Expecting property name enclosed in double quotes or '}'", position
        if previous == "," and following == "}":
            return "Illegal trailing comma before end of object", before
    return message, position


def _escape_reason(document: str, position: int) -> tuple[str, int]:
    digits = document[position + 1 :]
    if len(digits) != 4 or digits.strip("0123456789abcdefABCDEF"):
        return "Invalid \\uXXXX escape sequence", position - 1
    # A complete escape at the very end: it is the string that is not complete.
    start = document.index('"')
    while (end := _end_of_string(document, start)) < len(document):
        start = document.index('"', end + 1)
    return "Unterminated string starting at", start


def _place(document: str, position: int) -> str:
    line = document.count("\n", 0, position) + 1
    column = position - document.rfind("\n", 0, position)
    return f"line {line} column {column}"


def _container(document: str, position: int) -> str:
    opened = []
    index = 0
    while index < position:
        character = document[index]
        if character == '"':
            index = _end_of_string(document, index)
        elif character in "[{":
            opened.append(character)
        elif character in "]}" and opened:
            opened.pop()
        index += 1
    return opened[-1] if opened else ""


def _outside_strings(document: str, words: tuple[str, ...]) -> int:
    index = 0
    while index < len(document):
        if document[index] == '"':
            index = _end_of_string(document, index)
        elif document.startswith(words, index):
            return index
        index += 1
    return 0


def _end_of_string(document: str, index: int) -> int:
    index += 1
    while index < len(document) and document[index] != '"':
        index += 2 if document[index] == "\\" else 1
    return index
