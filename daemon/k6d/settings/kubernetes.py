"""Settings of runs on a Kubernetes cluster by k6-operator."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from k6d.settings.values import (
    EMPTY_IS_NONE,
    AbsolutePath,
    Deadline,
    Section,
    Url,
    lines,
)

MOST_RUNNERS = 1000
RECEIVER_PORT = 6564
K6_USER = 12345  # of the image grafana/k6
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


def _named(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("should be a name of Kubernetes: lower-case letters, digits, - and .")
    return text


def _quantity(text: str) -> str:
    if not _QUANTITY.fullmatch(text):
        raise ValueError('should be a quantity such as "500m", "2" or "512Mi"')
    return text


def _an_image(text: str) -> str:
    if not re.fullmatch(r"[^\s:@]+(:\d+)?[^\s:@]*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?", text):
        raise ValueError("should be the name of an image, such as grafana/k6:1.1.0")
    return text


def has_port(url: str) -> bool:
    """Whether a URL names a port."""
    return re.match(r"https?://(\[[^\]]*\]|[^/:]*):\d+", url) is not None


Name = Annotated[str, AfterValidator(_named)]
Quantity = Annotated[str, AfterValidator(_quantity)]
Image = Annotated[str, AfterValidator(_an_image)]
Runners = Annotated[int, Field(ge=1, le=MOST_RUNNERS)]


class Toleration(Section):
    """A taint of nodes that the runners tolerate."""

    key: str | None = None
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class Kubernetes(Section):
    """Runs on a Kubernetes cluster by k6-operator."""

    model_config = ConfigDict(coerce_numbers_to_str=True)  # cpu = 2

    kubeconfig: Annotated[AbsolutePath | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="File with the login to the cluster; empty: the service account of the pod "
        "that k6d runs in, elsewhere the file that KUBECONFIG names, else ~/.kube/config.",
    )
    context: Annotated[str | None, EMPTY_IS_NONE] = Field(
        default=None, description="Context of that file; empty: its current context."
    )
    namespace: Annotated[Name | None, EMPTY_IS_NONE] = Field(
        default=None, description="Namespace of the test runs; empty: that of the login."
    )
    parallelism: Runners = Field(
        default=1,
        description="Number of runners that share the load of a test, 1 to 1000; "
        "ext.k6d.parallelism sets it for one script.",
    )
    image: Annotated[Image | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="Image of the runners; empty: grafana/k6 in the version of the local k6.",
    )
    resource_requests: dict[str, Quantity] = Field(
        default={}, description='What each runner asks for, such as { cpu = "1", memory = "1Gi" }.'
    )
    resource_limits: dict[str, Quantity] = Field(
        default={}, description="What each runner may use at most, in the same form."
    )
    node_selector: dict[str, str] = Field(
        default={}, description="Labels that a node must have to get a runner."
    )
    tolerations: list[Toleration] = Field(
        default=[],
        description="Taints that the runners tolerate: a list of tables with key, operator, value "
        "and effect.",
    )
    separate: bool = Field(default=False, description="true: one runner on each node at most.")
    service_account: Annotated[Name | None, EMPTY_IS_NONE] = Field(
        default=None, description="Service account of the runners; empty: the namespace's default."
    )
    run_as_user: Annotated[Annotated[int, Field(ge=0)] | None, EMPTY_IS_NONE] = Field(
        default=K6_USER,
        description="User id of the runners and of the starter, 12345 is that of grafana/k6; with "
        "it the pods meet the Pod Security Standard restricted; empty: that of the image.",
    )
    image_pull_secrets: Annotated[list[Name], BeforeValidator(lines)] = Field(
        default=[], description="Secrets with the login to the registry of the image."
    )
    env_from: Annotated[list[Name], BeforeValidator(lines)] = Field(
        default=[],
        description="Secrets whose entries the scripts see in __ENV; k6.env is readable in the "
        "TestRun.",
    )
    receiver_url: Annotated[Url | None, EMPTY_IS_NONE] = Field(
        default=None,
        description="URL by which the runners reach k6d to push their metrics, such as "
        "http://k6d.load-tests.svc:6564; without a port, receiver_port is added.",
    )
    receiver_bind: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address that k6d receives these pushes on, while a test runs on the cluster.",
    )
    receiver_port: int = Field(
        default=RECEIVER_PORT,
        ge=0,
        le=65_535,
        description="TCP port that k6d receives these pushes on; 0: any free port, if "
        "receiver_url has no port.",
    )
    schedule_limit: Deadline = Field(
        default=300.0,
        description="Seconds until all runners must have a node and their image; after it the run "
        "ends without a verdict.",
    )
    start_limit: Deadline = Field(
        default=120.0,
        description="Seconds until all runners must have begun the test, once all are there.",
    )
    silent_limit: Deadline = Field(
        default=30.0,
        description="Seconds without a push after which a runner is lost and the run incomplete.",
    )
    concurrency: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Number of load tests that may run on the cluster at the same time, 1 to 64.",
    )

    @model_validator(mode="after")
    def _can_be_reached(self) -> Kubernetes:
        if self.receiver_port == 0 and has_port(self.receiver_url or ""):
            raise ValueError("receiver_url has a port, so receiver_port must be a port too, not 0")
        return self
