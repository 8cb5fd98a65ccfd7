"""Calls the API server of a Kubernetes cluster; the only module that imports lightkube.

Objects are plain JSON documents. Every failure is a `ClusterError` with its `Trouble`. lightkube is
an extra of k6d and weighs 25 MiB, so it is imported at the first login.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from k6d.core.errors import reason
from k6d.core.frozen import frozen
from k6d.core.model import K6dError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from k6d.settings import Kubernetes

Document = dict[str, Any]

EXTRA_MISSING = (
    "the executor kubernetes needs lightkube, which is not installed:"
    " run pip install 'k6d[kubernetes]'"
)
CALL_S = 10.0  # each call but a watch and a log that is followed
WATCH_S = 60.0  # the length of a watch, after which everything is listed again
AGAIN_S = 1.0  # from the end of a watch to the next listing: an end must not make a busy loop
HUNG_S = 10.0  # a watch that the server does not end is given up so many seconds later


class Trouble(StrEnum):
    """Why a call failed."""

    AWAY = "the API server does not answer"
    LOGIN = "the API server refuses the login"
    FORBIDDEN = "a permission is missing"
    QUOTA = "the quota of the namespace is used up"
    MISSING = "not found"
    EXISTS = "it exists already"
    INVALID = "the API server refuses the object"
    CONFIG = "no login to a cluster"
    OTHER = "the API server reports an error"


class ClusterError(K6dError):
    """A call of the API server failed; the text is one line, `trouble` is its kind."""

    def __init__(self, trouble: Trouble, detail: str) -> None:
        self.trouble = trouble
        super().__init__(f"{trouble}: {' '.join(detail.split())}" if detail else str(trouble))


class _Named(NamedTuple):
    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True


class Kind(Enum):
    """The kinds of objects that k6d deals with."""

    TESTRUN = _Named("k6.io", "v1alpha1", "TestRun", "testruns")
    CONFIGMAP = _Named("", "v1", "ConfigMap", "configmaps")
    POD = _Named("", "v1", "Pod", "pods")
    REVIEW = _Named(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        namespaced=False,
    )


@frozen
class Permission:
    """Something that the login must be allowed to do in the namespace."""

    verb: str
    kind: Kind
    subresource: str | None = None

    def __str__(self) -> str:
        part = f"/{self.subresource}" if self.subresource else ""
        return f"{self.verb} {self.kind.value.plural}{part}"


# What a run needs.
PERMISSIONS = (
    *(Permission(verb=verb, kind=Kind.TESTRUN) for verb in ("create", "list", "watch", "delete")),
    *(Permission(verb=verb, kind=Kind.CONFIGMAP) for verb in ("create", "delete")),
    *(Permission(verb=verb, kind=Kind.POD) for verb in ("list", "watch")),
    Permission(verb="get", kind=Kind.POD, subresource="log"),
)


@frozen
class Login:
    """Where the login comes from.

    Without `kubeconfig` and `context`, a pod uses its service account; elsewhere the file named by
    KUBECONFIG, else ~/.kube/config, with its current context. Without `namespace` it is that of the
    login.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None

    @classmethod
    def of(cls, settings: Kubernetes) -> Self:
        """Return the login that the settings name."""
        return cls(
            kubeconfig=settings.kubeconfig, context=settings.context, namespace=settings.namespace
        )


class Cluster:
    """One namespace of a cluster; use it as an asynchronous context manager.

    Making it reads the login but calls no server. Raises K6dError without lightkube, and
    ClusterError with CONFIG without a usable login.
    """

    def __init__(self, login: Login) -> None:
        self._client = _client(login)
        self._resources = {kind: _resource(kind.value) for kind in Kind}
        self.namespace: str = login.namespace or self._client.namespace
        self.server: str = self._client.config.cluster.server

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def create(
        self, kind: Kind, document: Mapping[str, Any], *, dry_run: bool = False
    ) -> Document:
        """Create an object and return it as the server stored it, or in a dry run would store it.

        The server leaves fields out that it does not know.
        """
        where = {"namespace": self.namespace} if kind.value.namespaced else {}
        made = self._resources[kind](document)
        with _troubles():
            return dict(await self._client.create(made, dry_run=dry_run, **where))

    async def find(self, kind: Kind, *, labels: Mapping[str, str] | None = None) -> list[Document]:
        """Return the objects with all these labels."""
        found, _ = await self._listed(kind, labels)
        return found

    async def watch(
        self, kind: Kind, *, labels: Mapping[str, str]
    ) -> AsyncIterator[dict[str, Document]]:
        """Yield the objects with these labels by name: at once, and after each change.

        It goes on for ever: it lists everything again after WATCH_S seconds and when the server
        has forgotten where the watch was. Any other failure raises ClusterError.
        """
        while True:
            items, version = await self._listed(kind, labels)
            now = {name_of(one): one for one in items}
            yield dict(now)
            async for event, one in self._events(kind, labels, version):
                if event == "DELETED":
                    now.pop(name_of(one), None)
                elif event in {"ADDED", "MODIFIED"}:
                    now[name_of(one)] = one
                else:
                    continue  # a bookmark
                yield dict(now)
            await asyncio.sleep(AGAIN_S)

    async def delete(self, kind: Kind, name: str) -> bool:
        """Delete an object and, in the background, what it owns; False if it did not exist."""
        from lightkube.types import CascadeType

        try:
            with _troubles():
                await self._client.delete(
                    self._resources[kind],
                    name,
                    namespace=self.namespace,
                    cascade=CascadeType.BACKGROUND,
                )
        except ClusterError as error:
            if error.trouble is Trouble.MISSING:
                return False
            raise
        return True

    async def log(
        self, pod: str, *, container: str | None = None, follow: bool = False
    ) -> AsyncIterator[str]:
        """Yield the lines of a pod's log; with `follow`, also those to come until it has ended."""
        of = {"namespace": self.namespace, "container": container, "newlines": False}
        with _troubles():
            try:
                async for line in self._client.log(pod, follow=follow, **of):
                    yield line
            except RuntimeError:
                # lightkube 1.0 cannot read the error of a log that is followed. This tells it.
                async for _ in self._client.log(pod, tail_lines=1, **of):
                    pass
                raise

    async def may(self, permission: Permission) -> bool:
        """Return whether the login has this permission."""
        named = permission.kind.value
        asked = {"verb": permission.verb, "group": named.group, "resource": named.plural}
        if permission.subresource:
            asked["subresource"] = permission.subresource
        if named.namespaced:
            asked["namespace"] = self.namespace
        review = await self.create(Kind.REVIEW, {"spec": {"resourceAttributes": asked}})
        return bool((review.get("status") or {}).get("allowed"))

    async def _listed(
        self, kind: Kind, labels: Mapping[str, str] | None
    ) -> tuple[list[Document], str]:
        with _troubles():
            listing = self._client.list(
                self._resources[kind], namespace=self.namespace, labels=dict(labels or {})
            )
            found = [dict(one) async for one in listing]
            return found, listing.resourceVersion

    async def _events(
        self, kind: Kind, labels: Mapping[str, str], version: str
    ) -> AsyncIterator[tuple[str, Document]]:
        """Yield what changes from `version` on, for WATCH_S seconds or until it is too old."""
        until = time.monotonic() + WATCH_S
        watching = self._client.watch(
            self._resources[kind],
            namespace=self.namespace,
            labels=dict(labels),
            server_timeout=round(WATCH_S),
            resource_version=version,
        )
        events = aiter(watching)
        try:
            while (left := until - time.monotonic()) > 0:
                try:
                    with _troubles():
                        async with asyncio.timeout(left + HUNG_S):
                            event, one = await anext(events)
                except TimeoutError:
                    return
                except ClusterError as error:
                    if error.trouble is Trouble.MISSING:  # 410: too old
                        return
                    raise
                yield event, dict(one)
        finally:
            await events.aclose()


def name_of(document: Mapping[str, Any]) -> str:
    """Return the name of an object."""
    return str(document["metadata"]["name"])


def _client(login: Login) -> Any:
    """Return lightkube's client; its types know its own models only, so it is untyped here."""
    try:
        from lightkube import AsyncClient, KubeConfig
    except ImportError:
        raise K6dError(EXTRA_MISSING) from None
    import os

    import httpx2
    from lightkube.config.kubeconfig import DEFAULT_KUBECONFIG

    with _troubles():
        if login.kubeconfig:
            config = KubeConfig.from_file(login.kubeconfig)
        elif login.context:
            config = KubeConfig.from_file(os.environ.get("KUBECONFIG") or DEFAULT_KUBECONFIG)
        else:
            config = KubeConfig.from_env()
        one = config.get(context_name=login.context)
        try:
            return AsyncClient(
                config=one, namespace=login.namespace, timeout=httpx2.Timeout(CALL_S)
            )
        except OSError as error:
            why = f"a certificate cannot be read ({reason(error)})"
            raise ClusterError(
                Trouble.CONFIG, f"{why}: check SSL_CERT_FILE and the kubeconfig"
            ) from error


def _resource(named: _Named) -> Any:
    """Return the class by which lightkube knows a kind; its objects are dictionaries."""
    from lightkube import generic_resource

    base = (
        generic_resource.GenericNamespacedResource
        if named.namespaced
        else generic_resource.GenericGlobalResource
    )
    known = generic_resource.create_api_info(named.group, named.version, named.kind, named.plural)
    return type(named.kind, (base,), {"_api_info": known})


@contextlib.contextmanager
def _troubles() -> Iterator[None]:
    """Turn what lightkube raises into a ClusterError."""
    import httpx2
    from lightkube import ApiError, ConfigError

    try:
        yield
    except ApiError as error:
        code, said = error.status.code or 0, error.status.message or str(error)
        raise ClusterError(_trouble(code, said), said) from error
    except httpx2.HTTPStatusError as error:  # without a document that says why
        code = error.response.status_code
        raise ClusterError(_trouble(code, ""), f"HTTP {code}") from error
    except httpx2.HTTPError as error:
        raise ClusterError(Trouble.AWAY, str(error) or type(error).__name__) from error
    except ConfigError as error:
        raise ClusterError(Trouble.CONFIG, str(error)) from error
    except (KeyError, ValueError, RuntimeError) as error:
        # lightkube's, of an answer or a login file that is no JSON or lacks a field
        if isinstance(cause := error.__context__, httpx2.HTTPStatusError):
            code = cause.response.status_code
            raise ClusterError(_trouble(code, ""), f"HTTP {code}") from error
        raise ClusterError(Trouble.OTHER, f"{type(error).__name__}: {error}") from error


def _trouble(code: int, said: str) -> Trouble:
    if code == 403 and "exceeded quota" in said:
        return Trouble.QUOTA
    if code == 429 or code >= 500:
        return Trouble.AWAY
    return {
        400: Trouble.INVALID,
        401: Trouble.LOGIN,
        403: Trouble.FORBIDDEN,
        404: Trouble.MISSING,
        409: Trouble.EXISTS,
        410: Trouble.MISSING,
        422: Trouble.INVALID,
    }.get(code, Trouble.OTHER)
