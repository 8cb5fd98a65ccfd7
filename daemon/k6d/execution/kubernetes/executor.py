"""Runs a snapshot on a Kubernetes cluster, by k6-operator, with several k6 that share the load."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from k6d.core.model import K6dError, Outcome
from k6d.core.text import plural
from k6d.execution.capture import Capture
from k6d.execution.deadline import deadline_s
from k6d.execution.forward import Forwarder
from k6d.execution.kubernetes import arguments, failures, leftovers, result, thresholds
from k6d.execution.kubernetes.captures import Captures
from k6d.execution.kubernetes.cluster import Cluster, ClusterError, Login
from k6d.execution.kubernetes.failures import Failure
from k6d.execution.kubernetes.lifecycle import Ended, Lifecycle
from k6d.execution.kubernetes.logs import Logs
from k6d.execution.kubernetes.receiver import Guest, receiving
from k6d.execution.kubernetes.testrun import (
    MAX_CONFIGMAP_BYTES,
    Names,
    Placement,
    Workload,
    instance_of,
    receiver_url,
)
from k6d.execution.measure import measured

if TYPE_CHECKING:
    from collections.abc import Callable

    from k6d.execution.executor import Live, Measured, Order
    from k6d.execution.kubernetes.thresholds import Wanted
    from k6d.execution.local.k6 import K6, Plan
    from k6d.settings import Settings
    from k6d.storage.store import Store

NO_RECEIVER = (
    "kubernetes.receiver_url is not set: it is the URL by which pods reach k6d, such as "
    "http://k6d.load-tests.svc:6564"
)


@dataclass(frozen=True, slots=True)
class KubernetesExecutor:
    """Runs snapshots on a cluster; see `Executor`. `k6` is the local one, which makes the plan."""

    k6: K6
    settings: Settings
    store: Store
    placement: Placement

    async def run(
        self, order: Order, *, stop: asyncio.Event, on_start: Callable[[Callable[[], Live]], None]
    ) -> Measured:
        """Run the snapshot with runners that push their metrics to this process."""
        wanted = thresholds.wanted(order.options)
        captures = self._captures(order, wanted)
        on_start(captures.live)
        async with self.k6.in_group() as group:
            inspecting = self.k6.inspect(
                order.archive, group=group, env=order.env, options=order.options
            )
            plan = asyncio.create_task(inspecting)
            limit_s = await deadline_s(order, plan, grace_s=self.settings.k6.grace)
            planned = await plan
        with Forwarder(self.settings.forward) as out:

            def push(body: bytes) -> None:
                captures.push(body)
                out.push(body)

            guest = Guest(push=push, runners=self.placement.parallelism, archive=order.archive)
            ran = _Ran(order, captures, wanted, planned, limit_s)
            left = await self._run(ran, guest, stop)
        order = replace(order, notes=[*order.notes, *self._not_used(), *result.notes(left)])
        observed = await asyncio.to_thread(result.observed, left)
        return await measured(order, observed, settings=self.settings)

    def _not_used(self) -> list[str]:
        """Return which settings hold for runs on this machine only, if they are set."""
        only = "holds for runs on the machine of k6d only; the runners on the cluster do not use it"
        sources = f"k6.secret_sources {only}: give them secrets by kubernetes.env_from"
        return [
            *([f"forward.otlp {only}"] if self.settings.forward.otlp else []),
            *([sources] if self.settings.k6.secret_sources else []),
        ]

    def _captures(self, order: Order, wanted: list[Wanted]) -> Captures:
        def make(max_series: int) -> Capture:
            return Capture(
                max_endpoints=self.settings.capture.max_endpoints,
                max_series=max_series,
                exclude=order.exclude,
                hide=order.redactor.name,
            )

        return Captures(self.placement.parallelism, make=make, wanted=thresholds.metrics_of(wanted))

    async def _run(self, ran: _Ran, guest: Guest, stop: asyncio.Event) -> result.Left:
        """Run the test on the cluster; what prevents it becomes the outcome."""
        order, cluster_settings = ran.order, self.settings.kubernetes
        files = order.folder / "files"
        files.mkdir()
        args, env = arguments.arguments(
            order, stats=thresholds.trend_stats(ran.wanted), forward=bool(self.settings.forward.url)
        )
        left = partial(
            result.Left,
            captures=ran.captures,
            wanted=ran.wanted,
            placement=self.placement,
            command=["k6", "run", *args, "archive.tar"],
            planned_s=ran.planned.total_s if ran.planned else None,
            deadline_s=ran.limit_s,
            binary=self.k6,
            files=files,
            log_bytes=self.settings.k6.log_bytes,
        )
        if failure := self._impossible(ran.planned):
            return left(ended=Ended(failure=failure))
        try:
            with receiving(
                guest, bind=cluster_settings.receiver_bind, port=cluster_settings.receiver_port
            ) as port:
                url = receiver_url(cluster_settings, port) or ""
                workload = Workload(
                    args=args,
                    env=arguments.environment(env, receiver_url=url, release=self._release()),
                    receiver_url=url,
                    token=guest.token,
                    download=order.archive.stat().st_size > MAX_CONFIGMAP_BYTES,
                )
                return await self._on_cluster(ran, workload, stop, left)
        except ClusterError as error:
            return left(ended=Ended(failure=failures.of_error(error)))
        except K6dError as error:
            failure = Failure(outcome=Outcome.CLUSTER, error=str(error))
            return left(ended=Ended(failure=failure))

    def _impossible(self, planned: Plan | None) -> Failure | None:
        """Return why this test cannot run on the cluster at all."""
        if self.settings.kubernetes.receiver_url is None:
            return Failure(outcome=Outcome.CLUSTER, error=NO_RECEIVER)
        runners = self.placement.parallelism
        if planned and planned.max_vus is not None and planned.max_vus < runners:
            return Failure(
                outcome=Outcome.SCRIPT_ERROR,
                error=f"{plural(planned.max_vus, 'VU')} cannot be shared by {runners} runners: "
                "lower kubernetes.parallelism or ext.k6d.parallelism, or plan more VUs",
            )
        return None

    async def _on_cluster(
        self, ran: _Ran, workload: Workload, stop: asyncio.Event, left: partial[result.Left]
    ) -> result.Left:
        settings, order = self.settings, ran.order
        test_id = order.tags["testid"]
        names = Names(test_id=test_id, instance=instance_of(settings.data))
        async with Cluster(Login.of(settings.kubernetes)) as cluster:
            await leftovers.sweep(cluster, self.store, names.instance, data=settings.data)
            logs = Logs(
                cluster,
                limit=max(settings.k6.log_bytes // self.placement.parallelism, 2048),
                hide=order.redactor.known,
            )
            lifecycle = Lifecycle(
                cluster=cluster,
                names=names,
                workload=workload,
                placement=self.placement,
                settings=settings.kubernetes,
                captures=ran.captures,
                logs=logs,
                wanted=ran.wanted,
                stop=stop,
                deadline_s=ran.limit_s,
                grace_s=settings.k6.stop_grace,
            )
            with leftovers.noted(self.store, cluster, names, is_clean=lambda: lifecycle.is_clean):
                ended = await lifecycle.run(order.archive)
            where = f"Kubernetes, namespace {cluster.namespace} at {cluster.server}"
            return left(ended=ended, logs=logs.of, unread=logs.unread, where=where)

    def _release(self) -> tuple[int, int]:
        """Return the release of k6 in the image; that of the local k6 if its tag does not say."""
        version = self.placement.k6_version
        if version is None:
            return self.k6.release
        major, minor, *_ = version.split(".")
        return int(major), int(minor)


@dataclass(frozen=True, slots=True)
class _Ran:
    """A run that is under way."""

    order: Order
    captures: Captures
    wanted: list[Wanted]
    planned: Plan | None
    limit_s: float


async def clean_up(settings: Settings, store: Store) -> None:
    """Delete what runs of a dead process left in the cluster."""
    async with Cluster(Login.of(settings.kubernetes)) as cluster:
        await leftovers.sweep(cluster, store, instance_of(settings.data), data=settings.data)
