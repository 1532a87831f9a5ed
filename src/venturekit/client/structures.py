"""Structures of the API: inputs and outputs with AWS's member names, as attributes and as items.

    config = DestinationConfig(OnFailure=OnFailure(Destination=queue_arn))
    config.OnFailure.Destination == config["OnFailure"]["Destination"]

A member that is not there is None as an attribute and missing as an item. Members that the service has sent and this
version does not know are there all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

_LONGEST_SHOWN = 200


@dataclass_transform(kw_only_default=True, frozen_default=True, eq_default=True)
class Structure(Mapping[str, Any]):
    """A structure. Derived classes declare their members as annotations; those without a value are required.

    Raises TypeError for members that it does not have, and for required ones that are missing.
    """

    members: ClassVar[tuple[str, ...]] = ()
    required: ClassVar[tuple[str, ...]] = ()
    readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    secret: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        own = [name for name in _own_annotations(cls) if name[0].isupper()]
        cls.members = (*cls.members, *own)
        cls.required = (*cls.required, *(name for name in own if name not in cls.__dict__))

    if not TYPE_CHECKING:
        # Type checkers know the arguments by the annotations.

        def __init__(self, **members: Any) -> None:
            for name in members:
                if name not in self.members:
                    raise TypeError(_unexpected(self, name))
            for name in self.required:
                if members.get(name) is None:
                    raise TypeError(f"{type(self).__name__} needs {name}")
            readers = self.readers
            own = self.__dict__
            for name, value in members.items():
                if value is not None:
                    own[name] = readers[name](value) if name in readers else value

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """The structure of what the service sent, or of a mapping in its form."""
        if isinstance(document, cls):
            return document
        made = cls.__new__(cls)
        readers = cls.readers
        own = made.__dict__
        for name, value in document.items():
            if value is not None:
                own[name] = readers[name](value) if name in readers else value
        return made

    def plain(self) -> dict[str, Any]:
        """The same as dictionaries and lists."""
        return {name: plain(value) for name, value in self.__dict__.items()}

    def __setstate__(self, state: Any) -> None:
        # What pickle and copy would do by setting attributes.
        own, slots = state if isinstance(state, tuple) else (state, None)
        self.__dict__.update(own or {})
        for name, value in (slots or {}).items():
            object.__setattr__(self, name, value)

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __len__(self) -> int:
        return len(self.__dict__)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make another one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} cannot be changed: make another one")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Structure):
            return type(self) is type(other) and self.__dict__ == other.__dict__
        return self.__dict__ == dict(other) if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = (f"{name}={self._shown(name, value)}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({', '.join(shown)})"

    def _shown(self, name: str, value: Any) -> str:
        if name in self.secret:
            return "..."
        if isinstance(value, bytes | bytearray | memoryview):
            return f"<{len(value)} bytes>"
        if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
            return f"<{len(value)} characters>"
        return repr(value)


def _own_annotations(kind: type) -> Mapping[str, Any]:
    # Not by inspect, whose import takes longer than all of this.
    return vars(kind).get("__annotations__") or getattr(kind, "__annotations__", {})


def structures_of(kind: type[Structure]) -> Callable[[Any], list[Any]]:
    """What reads a list of structures."""
    return lambda found: [kind.of(each) for each in found]


def plain(value: Any) -> Any:
    """A value with dictionaries and lists instead of structures and tuples, without members that are None."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def _unexpected(structure: Structure, name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, structure.members, 1)
    hint = f"; did you mean {close[0]}?" if close else f": it has {', '.join(structure.members) or 'none'}"
    return f"{type(structure).__name__} has no member {name}{hint}"
