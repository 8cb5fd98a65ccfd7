"""The objects of the tests' cluster: versions, watches and owners as in a Kubernetes API server."""

from __future__ import annotations

import copy
import random
import re
import string
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Object = dict[str, Any]
HISTORY = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object; `resource` is its plural, with its group as in RBAC's messages."""

    name: str
    plural: str
    group: str = ""
    version: str = "v1"

    @property
    def api_version(self) -> str:
        """As in `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As the API server names it in errors: `testruns.k6.io`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


TESTRUNS = Kind("TestRun", "testruns", "k6.io", "v1alpha1")
CONFIGMAPS = Kind("ConfigMap", "configmaps")
PODS = Kind("Pod", "pods")
SERVICES = Kind("Service", "services")
EVENTS = Kind("Event", "events")
JOBS = Kind("Job", "jobs", "batch")
KINDS = (TESTRUNS, CONFIGMAPS, PODS, SERVICES, EVENTS, JOBS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One event of a watch: ADDED, MODIFIED or DELETED."""

    version: int
    type: str
    kind: Kind
    body: Object


class TooOldError(Exception):
    """The history before this resource version is gone."""


class Store:
    """All objects by kind, namespace and name; every method is thread-safe and copies.

    `listeners` are called after each change, outside the lock.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.listeners: list[Callable[[Change], None]] = []
        self._objects: dict[tuple[Kind, str, str], Object] = {}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._version = 1000
        self._oldest = 1000

    @property
    def version(self) -> int:
        """The resource version of the last change."""
        return self._version

    def create(self, kind: Kind, namespace: str, body: Object) -> Object | None:
        """Keep a new object and return it as kept; None if the name is taken."""
        made = copy.deepcopy(body)
        meta = made.setdefault("metadata", {})
        if "name" not in meta:
            meta["name"] = meta["generateName"] + suffix()
        key = (kind, namespace, meta["name"])
        meta |= {"namespace": namespace, "uid": str(uuid.uuid4()), "generation": 1}
        meta["creationTimestamp"] = now()
        with self.changed:
            if key in self._objects:
                return None
            made = {"apiVersion": kind.api_version, "kind": kind.name, **made}
            change = self._note("ADDED", key, made)
        self._tell(change)
        return copy.deepcopy(made)

    def update(
        self, kind: Kind, namespace: str, name: str, change: Callable[[Object], object]
    ) -> Object | None:
        """Change an object in place; None if it is gone."""
        key = (kind, namespace, name)
        with self.changed:
            found = self._objects.get(key)
            if found is None:
                return None
            made = copy.deepcopy(found)
            change(made)
            if made == found:
                return made
            event = self._note("MODIFIED", key, made)
        self._tell(event)
        return copy.deepcopy(made)

    def remove(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Forget an object at once and return it; None if it is gone already."""
        key = (kind, namespace, name)
        with self.changed:
            found = self._objects.get(key)
            if found is None:
                return None
            event = self._note("DELETED", key, copy.deepcopy(found))
        self._tell(event)
        return event.body

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """One object."""
        with self.changed:
            return copy.deepcopy(self._objects.get((kind, namespace, name)))

    def list(self, kind: Kind, namespace: str | None = None) -> list[Object]:
        """All objects of a kind, in the order of their names."""
        with self.changed:
            keys = sorted(
                (key for key in self._objects if key[0] == kind and namespace in (None, key[1])),
                key=lambda key: key[1:],
            )
            return [copy.deepcopy(self._objects[key]) for key in keys]

    def owned_by(self, uid: str) -> list[tuple[Kind, Object]]:
        """The objects that name this one as their owner."""
        with self.changed:
            return [
                (key[0], copy.deepcopy(body))
                for key, body in self._objects.items()
                if any(one["uid"] == uid for one in body["metadata"].get("ownerReferences", []))
            ]

    def is_orphan(self, body: Object) -> bool:
        """Whether the object names owners, and none of them is there."""
        owners = {one["uid"] for one in body["metadata"].get("ownerReferences", [])}
        with self.changed:
            return bool(owners) and not any(
                one["metadata"]["uid"] in owners for one in self._objects.values()
            )

    def compact(self) -> None:
        """Forget the history: watches from before get TooOldError."""
        with self.changed:
            self._history.clear()
            self._version += 1
            self._oldest = self._version
            self.changed.notify_all()

    def since(self, version: int, kind: Kind, namespace: str | None) -> list[Change]:
        """The changes after a version."""
        with self.changed:
            if version < self._oldest:
                raise TooOldError
            return [
                one
                for one in self._history
                if one.version > version
                and one.kind == kind
                and namespace in (None, one.body["metadata"]["namespace"])
            ]

    def _note(self, type_: str, key: tuple[Kind, str, str], body: Object) -> Change:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        if type_ == "DELETED":
            del self._objects[key]
        else:
            self._objects[key] = body
        change = Change(version=self._version, type=type_, kind=key[0], body=copy.deepcopy(body))
        self._history.append(change)
        self.changed.notify_all()
        return change

    def _tell(self, change: Change) -> None:
        for listener in self.listeners:
            listener(change)


def now() -> str:
    """As the API server writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def suffix() -> str:
    """Five letters and digits, as after `generateName`."""
    return "".join(random.choices(string.ascii_lowercase + string.digits, k=5))


def owner(body: Object, kind: Kind) -> Object:
    """The reference to an owner that controls."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "name": body["metadata"]["name"],
        "uid": body["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def selected(body: Object, *, labels: str = "", fields: str = "") -> bool:
    """Whether both selectors match."""
    has = body["metadata"].get("labels", {})
    return all(_label_matches(has, one) for one in _terms(labels)) and all(
        _field_matches(body, one) for one in _terms(fields)
    )


def _terms(selector: str) -> Iterable[str]:
    return filter(None, (one.strip() for one in re.split(r",(?![^(]*\))", selector)))


def _label_matches(has: dict[str, str], term: str) -> bool:
    if found := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", term):
        inside = has.get(found[1]) in {one.strip() for one in found[3].split(",")}
        return inside == (found[2] == "in")
    if "!=" in term:
        name, value = term.split("!=")
        return has.get(name) != value
    if "=" in term:
        name, _, value = term.replace("==", "=").partition("=")
        return has.get(name) == value
    return term[1:] not in has if term.startswith("!") else term in has


def _field_matches(body: Object, term: str) -> bool:
    name, _, value = term.replace("==", "=").partition("=")
    negative = name.endswith("!")
    found: Any = body
    for part in name.removesuffix("!").split("."):
        found = found.get(part, {})
    return ((found or "") == value) != negative


def wait_for(condition: Callable[[], object], *, timeout_s: float = 30.0) -> bool:
    """Whether the condition holds within the time."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())
