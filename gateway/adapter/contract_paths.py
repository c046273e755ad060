"""Places in messages of JSON, where a field has two spellings, as the contract spells them."""

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.adapter.message_json import VALUE, fields_by_name, values_of_map
from gateway.core.errors import InvalidParams, Path, Violation


def in_contract(error: InvalidParams, descriptor: Descriptor) -> InvalidParams:
    """The same error, whose violations have the places that a message of the contract has."""
    violations = [Violation(_spelled(path, descriptor), text) for path, text in error.violations]
    return type(error)(violations, data=error.data, rest=error.rest)


def _spelled(path: Path, descriptor: Descriptor) -> Path:
    """A place with the names of fields. What follows one that is none stays: nothing is known of it."""
    spelled: list[str | int] = []
    within: Descriptor | None = descriptor
    parts = iter(path)
    for part in parts:
        spelled.append(part)
        if within is None or not isinstance(part, str) or (field := fields_by_name(within).get(part)) is None:
            break
        spelled[-1] = field.name
        if field.is_repeated:  # A map, or a list: a key or an index follows.
            spelled.extend(next(([each] for each in parts), []))
        within = _inside(field)
    return (*spelled, *parts)


def _inside(field: FieldDescriptor) -> Descriptor | None:
    """What the values of a field are, if they are messages. A Value is none: the members of a payload are no fields."""
    of = values_of_map(field)
    message = (field if of is None else of).message_type
    return None if message is None or message.full_name == VALUE else message
