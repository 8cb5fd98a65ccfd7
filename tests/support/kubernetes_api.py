"""The part of the Kubernetes API that k6d uses, with the real one's answers.

`Api` answers requests from a `Store`: it checks the role and the objects. `kubernetes_http` serves
it. The operator and the kubelet of the tests' cluster use the store itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support import kubernetes_schema as schema
from support.kubernetes_store import (
    CONFIGMAPS,
    PODS,
    TESTRUNS,
    Kind,
    Object,
    Store,
    selected,
)

if TYPE_CHECKING:
    from collections.abc import Callable

USER = "system:serviceaccount:load-tests:k6d"
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "AlreadyExists",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class RefusedError(Exception):
    """An answer that is not a success."""

    def __init__(self, code: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status = failure(code, message, **details)


def failure(code: int, message: str, **details: Any) -> Object:
    """A Status of a failure."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, "InternalError"),
        "details": details,
        "code": code,
    }


@dataclass(slots=True, kw_only=True)
class Refusal:
    """An answer that a test ordered for a verb and a resource; `times` None: for ever."""

    code: int
    message: str
    times: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for, of which objects."""

    method: str
    verb: str
    kind: Kind
    namespace: str | None
    name: str | None
    sub: str | None
    query: dict[str, str]
    body: Any

    @property
    def resource(self) -> str:
        """As in a role: `pods/log`, `testruns.k6.io`."""
        return self.kind.resource + (f"/{self.sub}" if self.sub else "")


@dataclass(kw_only=True)
class Api:
    """What the server knows and may do; tests change it at any time."""

    store: Store
    token: str
    role: set[str]
    read_log: Callable[[str, str], tuple[int, bytes]]
    has_ended: Callable[[str], bool]
    delete: Callable[[Kind, str, str, Object], Object | None]
    has_crd: bool = True
    lacks: frozenset[str] = frozenset()  # fields of a TestRun's spec that an old operator lacks
    requests: list[str] = field(default_factory=list)
    posted: list[Object] = field(default_factory=list)
    refusals: dict[tuple[str, str], Refusal] = field(default_factory=dict)
    era: int = 0  # a watch ends when this number changes

    def answer(self, request: Request) -> tuple[int, Object]:
        """The status and the body for anything but a watch or a log."""
        if request.verb == "create":
            return 201, self._create(request)
        if request.verb == "list":
            return 200, self._list(request)
        if request.verb == "patch":
            return 200, self._patch(request)
        if request.verb == "delete":
            return 200, self._delete(request)
        return 200, self.found(request)

    def check(self, request: Request) -> None:
        """Refuse what the role does not grant, and what a test ordered to be refused."""
        self.requests.append(f"{request.verb} {request.resource}")
        if request.kind == TESTRUNS and not self.has_crd:
            raise RefusedError(404, "404 page not found")
        refusal = self.refusals.get((request.verb, request.resource))
        if refusal and refusal.times != 0:
            if refusal.times is not None:
                refusal.times -= 1
            message = refusal.message
            if refusal.code == 403:
                message = f'{request.resource} "{_name(request)}" is forbidden: {message}'
            raise RefusedError(refusal.code, message)
        if f"{request.verb} {request.resource}" not in self.role or not request.namespace:
            raise RefusedError(403, self._forbidden(request), kind=request.kind.plural)

    def review(self, body: Object) -> Object:
        """Answer a SelfSubjectAccessReview."""
        asked = body["spec"].get("resourceAttributes", {})
        resource = asked.get("resource", "")
        if asked.get("group"):
            resource += f".{asked['group']}"
        if asked.get("subresource"):
            resource += f"/{asked['subresource']}"
        allowed = f"{asked.get('verb')} {resource}" in self.role and bool(asked.get("namespace"))
        return {**body, "status": {"allowed": allowed}}

    def found(self, request: Request) -> Object:
        """The object asked for, or 404."""
        assert request.namespace
        assert request.name
        body = self.store.get(request.kind, request.namespace, request.name)
        if body is None:
            self._not_found(request)
        return body

    def _not_found(self, request: Request) -> Any:
        raise RefusedError(
            404,
            f'{request.kind.resource} "{request.name}" not found',
            name=request.name,
            group=request.kind.group,
            kind=request.kind.plural,
        )

    def _forbidden(self, request: Request) -> str:
        what = (
            f'{request.kind.resource} "{request.name}"' if request.name else request.kind.resource
        )
        where = (
            f'in the namespace "{request.namespace}"'
            if request.namespace
            else "at the cluster scope"
        )
        resource = request.kind.plural + (f"/{request.sub}" if request.sub else "")
        return (
            f'{what} is forbidden: User "{USER}" cannot {request.verb} resource "{resource}"'
            f' in API group "{request.kind.group}" {where}'
        )

    def _create(self, request: Request) -> Object:
        kind, body = request.kind, request.body
        assert request.namespace
        if not isinstance(body, dict) or body.get("kind") != kind.name:
            raise RefusedError(
                400, f"the object provided is unrecognized (must be of type {kind.name})"
            )
        unknown = schema.unknown(kind, body)
        if unknown and request.query.get("fieldValidation") == "Strict":
            words = ", ".join(f'unknown field "{one}"' for one in unknown)
            raise RefusedError(
                400,
                f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}:'
                f" strict decoding error: {words}",
            )
        invalid = schema.invalid(kind, body)
        name = body["metadata"].get("name", "")
        if invalid:
            _refuse_values(kind, name, invalid)
        if body["metadata"].get("namespace", request.namespace) != request.namespace:
            raise RefusedError(
                400, "the namespace of the provided object does not match the request"
            )
        if kind == TESTRUNS:
            body = schema.with_defaults(schema.only_known(body))
            body["spec"] = {key: one for key, one in body["spec"].items() if key not in self.lacks}
        if request.query.get("dryRun") == "All":
            if self.store.get(kind, request.namespace, name):
                raise RefusedError(409, f'{kind.resource} "{name}" already exists')
            return body
        if kind == TESTRUNS:
            self.posted.append(request.body)
        made = self.store.create(kind, request.namespace, body)
        if made is None:
            raise RefusedError(
                409, f'{kind.resource} "{name}" already exists', name=name, kind=kind.plural
            )
        return made

    def _list(self, request: Request) -> Object:
        with self.store.changed:
            version = self.store.version
            every = self.store.list(request.kind, request.namespace)
        labels = request.query.get("labelSelector", "")
        fields = request.query.get("fieldSelector", "")
        items = [one for one in every if selected(one, labels=labels, fields=fields)]
        start = int(request.query.get("continue") or 0)
        end = start + int(request.query.get("limit") or 0) or len(items)
        meta: Object = {"resourceVersion": str(version)}
        if end < len(items):
            meta |= {"continue": str(end), "remainingItemCount": len(items) - end}
        for one in items:  # the real server leaves them out of a list of its own kinds
            if request.kind != TESTRUNS:
                del one["kind"], one["apiVersion"]
        return {
            "kind": f"{request.kind.name}List",
            "apiVersion": request.kind.api_version,
            "metadata": meta,
            "items": items[start:end],
        }

    def _patch(self, request: Request) -> Object:
        kind = request.kind
        if request.query["content-type"] != "application/merge-patch+json":
            raise RefusedError(
                415,
                "the body of the request was in an unknown format - accepted media types include:"
                " application/json-patch+json, application/merge-patch+json,"
                " application/apply-patch+yaml",
            )
        assert request.namespace
        assert request.name
        body = self.found(request)
        _merge(body, request.body)
        if invalid := schema.invalid(kind, body):
            _refuse_values(kind, request.name, invalid)
        changed = self.store.update(
            kind, request.namespace, request.name, lambda one: _merge(one, request.body)
        )
        return changed or self._not_found(request)

    def _delete(self, request: Request) -> Object:
        body = self.found(request)
        options = request.body or {}
        if policy := request.query.get("propagationPolicy"):
            options = {**options, "propagationPolicy": policy}
        assert request.namespace
        assert request.name
        self.delete(request.kind, request.namespace, request.name, options)
        if request.kind == PODS:
            return body
        details = {"name": request.name, "group": request.kind.group, "kind": request.kind.plural}
        details["uid"] = body["metadata"]["uid"]
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }


def _refuse_values(kind: Kind, name: str, invalid: list[tuple[str, str]]) -> None:
    words = [f"{path}: {said}" for path, said in invalid]
    what = f"{kind.name}.{kind.group}" if kind.group else kind.name
    said = words[0] if len(words) == 1 else f"[{', '.join(words)}]"
    causes = [{"field": path, "message": one} for path, one in invalid]
    if kind == CONFIGMAPS and invalid[0][1] == "illegal base64 data":
        raise RefusedError(400, f'ConfigMap in version "v1" cannot be handled: {words[0]}')
    raise RefusedError(422, f'{what} "{name}" is invalid: {said}', name=name, causes=causes)


def _merge(body: Object, patch: Object) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            body.pop(key, None)
        elif isinstance(value, dict) and isinstance(body.get(key), dict):
            _merge(body[key], value)
        else:
            body[key] = value


def _name(request: Request) -> str:
    body = request.body if isinstance(request.body, dict) else {}
    return request.name or body.get("metadata", {}).get("name", "")
