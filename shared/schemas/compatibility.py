"""Whether a published contract may change: what breaks, and for whom.

A published JSON Schema is compared with the one that its model has now. *Older payloads* lie on Kafka and must stay
readable; *older readers* run elsewhere and must be able to read what is written from now on. The only reader of a
command is the service that answers it, and it is deployed before anybody sends something new: for commands only older
payloads count. What cannot be judged counts as a break.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Schema = dict[str, Any]
Whom = Literal["older payloads", "older readers"]

CONTRACT_KEYS = ("x-kind", "x-topic", "x-key", "x-subject")
"""Where an event travels: part of the contract, though JSON Schema has no word for it."""

UNIT = "x-unit"
"""What one of a number is: a change of unit changes every amount, though no shape."""

_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT = ("pattern", "format", "uniqueItems", "multipleOf", UNIT)
_JUDGED = {
    *(*_LOWER, *_UPPER, *_EXACT),
    *(
        "type",
        "enum",
        "const",
        "items",
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "default",
    ),
}
_PROSE = {"title", "description", "examples", "$comment", "deprecated", "x-newest"}


@dataclass(frozen=True, slots=True)
class Break:
    """One reason why a change needs a new version: where in the payload, for whom, and what happened."""

    where: str
    whom: Whom
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} (breaks {self.whom})"


def breaks(published: Schema, current: Schema) -> list[Break]:
    """Everything that keeps `current` from replacing `published` under the same type; empty where it may."""
    found = [*_moved(published, current), *_Walk(published, current).node(published, current, "payload")]
    if published.get("x-kind") == "command" == current.get("x-kind"):
        found = [one for one in found if one.whom == "older payloads"]
    return found


def _moved(old: Schema, new: Schema) -> Iterator[Break]:
    for key in CONTRACT_KEYS:
        if old.get(key) != new.get(key):
            what = f"{key.removeprefix('x-')} changed from {old.get(key)} to {new.get(key)}"
            yield from _both("payload", what)


def _both(where: str, what: str) -> Iterator[Break]:
    yield Break(where, "older payloads", what)
    yield Break(where, "older readers", what)


class _Walk:
    """Walks two schemas side by side, each with its own `$defs`."""

    def __init__(self, old: Schema, new: Schema) -> None:
        self._old_parts = old.get("$defs", {})
        self._new_parts = new.get("$defs", {})
        self._seen: set[tuple[str, str]] = set()

    def node(self, old: Schema, new: Schema, where: str) -> Iterator[Break]:
        if "default" in old and "default" in new and old["default"] != new["default"]:
            yield Break(where, "older payloads", "its default changed")
        pair = (old.get("$ref", ""), new.get("$ref", ""))
        if all(pair):
            if pair in self._seen:
                return
            self._seen.add(pair)
        old_kinds, new_kinds = _by_type(old, self._old_parts), _by_type(new, self._new_parts)
        if old_kinds is None or new_kinds is None:
            if _bare(old) != _bare(new):
                yield from _both(where, "it changed in a way that cannot be judged")
            return
        for kind in sorted(old_kinds.keys() - new_kinds.keys()):
            yield Break(where, "older payloads", f"it can no longer be {_article(kind)}")
        for kind in sorted(new_kinds.keys() - old_kinds.keys()):
            yield Break(where, "older readers", f"it can now be {_article(kind)}")
        for kind in sorted(old_kinds.keys() & new_kinds.keys()):
            yield from self._same_type(old_kinds[kind], new_kinds[kind], where)

    def _same_type(self, old: Schema, new: Schema, where: str) -> Iterator[Break]:
        yield from _values(old, new, where)
        yield from _bounds(old, new, where)
        for keyword in _EXACT:
            if keyword == UNIT and UNIT not in old:
                continue  # what always held is now said, too
            if old.get(keyword) != new.get(keyword):
                yield from _both(where, f"its {keyword} changed from {old.get(keyword)} to {new.get(keyword)}")
        for keyword in sorted(
            (old.keys() | new.keys()) - _JUDGED - _PROSE - {"$defs", "$schema", "$id", *CONTRACT_KEYS}
        ):
            if old.get(keyword) != new.get(keyword):
                yield from _both(where, f"its {keyword} changed, which cannot be judged")
        if old.get("type") == "array":
            yield from self.node(old.get("items", {}), new.get("items", {}), f"{where}[]")
        if old.get("type") == "object":
            yield from self._fields(old, new, where)
            yield from self._unnamed(old, new, where)

    def _fields(self, old: Schema, new: Schema, where: str) -> Iterator[Break]:
        before, after = old.get("properties", {}), new.get("properties", {})
        must, must_now = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(before.keys() - after.keys()):
            yield Break(f"{where}.{name}", "older readers", "the field was removed")
            if new.get("additionalProperties") is False:
                yield Break(f"{where}.{name}", "older payloads", "the field was removed and would be refused")
        for name in sorted(must_now - must):
            yield Break(f"{where}.{name}", "older payloads", "the field is now required")
        for name in sorted((must - must_now) & after.keys()):
            yield Break(f"{where}.{name}", "older readers", "the field is no longer always there")
        for name in sorted(after.keys() - before.keys()):
            if old.get("additionalProperties") is False:
                yield Break(f"{where}.{name}", "older readers", "the field is new and would be refused")
        for name in sorted(before.keys() & after.keys()):
            yield from self.node(before[name], after[name], f"{where}.{name}")

    def _unnamed(self, old: Schema, new: Schema, where: str) -> Iterator[Break]:
        """What may stand under names that the schema does not list: a dictionary's values, or unknown fields."""
        before, after = old.get("patternProperties", {}), new.get("patternProperties", {})
        if before.keys() != after.keys():
            yield from _both(f"{where}.*", f"its names changed from {sorted(before)} to {sorted(after)}")
        for pattern in sorted(before.keys() & after.keys()):
            yield from self.node(before[pattern], after[pattern], f"{where}.*")
        rest, rest_now = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if rest == rest_now:
            return
        if isinstance(rest, dict) or isinstance(rest_now, dict):
            yield from _both(f"{where}.*", "its values changed in a way that cannot be judged")
        elif rest_now is False:
            yield Break(where, "older payloads", "unknown fields would be refused")
        else:
            yield Break(where, "older readers", "unknown fields may now come")


def _by_type(schema: Schema, parts: Schema) -> dict[str, Schema] | None:
    """The alternatives of a schema by JSON type; None where two have the same type, or one has none."""
    found: dict[str, Schema] = {}
    for one in _alternatives(schema, parts):
        kind = one.get("type")
        if not isinstance(kind, str) or kind in found:
            return None
        found[kind] = one
    return found


def _alternatives(schema: Schema, parts: Schema) -> Iterator[Schema]:
    if "$ref" in schema:
        yield from _alternatives(parts[schema["$ref"].rpartition("/")[2]], parts)
    elif "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _alternatives(one, parts)
    else:
        yield schema


def _values(old: Schema, new: Schema, where: str) -> Iterator[Break]:
    before, after = _enumerated(old), _enumerated(new)
    if before == after:
        return
    gone = [] if after is None else ["any other"] if before is None else sorted(before - after)
    come = [] if before is None else ["any other"] if after is None else sorted(after - before)
    if gone:
        yield Break(where, "older payloads", f"it can no longer be {', '.join(gone)}")
    if come:
        yield Break(where, "older readers", f"it can now be {', '.join(come)}")


def _enumerated(schema: Schema) -> set[str] | None:
    if "const" in schema:
        return {str(schema["const"])}
    return {str(value) for value in schema["enum"]} if "enum" in schema else None


def _bounds(old: Schema, new: Schema, where: str) -> Iterator[Break]:
    for keywords, sign in ((_LOWER, 1), (_UPPER, -1)):
        for keyword in keywords:
            before, after = old.get(keyword), new.get(keyword)
            if before == after:
                continue
            if before is None or (after is not None and (after - before) * sign > 0):
                yield Break(where, "older payloads", f"its {keyword} went from {before} to {after}: narrower")
            else:
                yield Break(where, "older readers", f"its {keyword} went from {before} to {after}: wider")


def _bare(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key not in _PROSE}


def _article(kind: str) -> str:
    return "null" if kind == "null" else f"{'an' if kind[0] in 'aio' else 'a'} {kind}"
