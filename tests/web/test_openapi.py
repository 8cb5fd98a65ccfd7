"""The API against its own OpenAPI document: schemathesis asks it whatever the document allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.records import make_run
from support.serving import Served

if TYPE_CHECKING:
    from collections.abc import Iterator

# A stream has no end to wait for; one-off runs would start k6 hundreds of times.
LEFT_OUT = r"/api/v1/(live|test/run)$"
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A daemon with one stored run."""
    made = Served(tmp_path_factory.mktemp("schema"))
    made.store.save(make_run())
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def document(served: Served) -> Any:
    """The document as the daemon serves it."""
    found = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    return found.exclude(path_regex=LEFT_OUT)


def test_every_route_keeps_to_its_document(document: Any, served: Served) -> None:
    """No server error, no undocumented status, type or shape, whatever the parameters are."""
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) > 15
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=12,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            case.call_and_validate(
                base_url=served.url,
                headers={"Authorization": f"Bearer {served.token}"},
                checks=CHECKS,
                timeout=120,
            )

        ask()


def test_the_document_has_the_original_routes(served: Served) -> None:
    """Paths and parameters of the original service are in it."""
    paths = served.get("/openapi.json").json["paths"]
    expected = {
        "/api/v1/test/run": ("post", set()),
        "/api/v1/test/history": ("get", {"limit"}),
        "/api/v1/test/results/{test_id}": ("get", {"test_id"}),
        "/api/v1/test/search": (
            "get",
            {"anomalies_only", "min_error_rate", "max_response_time", "limit"},
        ),
        "/api/v1/test/statistics": ("get", {"days"}),
        "/api/v1/test/health": ("get", set()),
    }
    assert {"200", "202", "409", "429", "503"} <= paths["/api/v1/test/run"]["post"][
        "responses"
    ].keys()
    for path, (method, parameters) in expected.items():
        names = {one["name"] for one in paths[path][method].get("parameters", [])}
        assert parameters <= names
