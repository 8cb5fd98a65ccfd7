"""JSON Schemas of the responses, for the OpenAPI document only.

They are written by hand and not derived from models, because the responses come from the store
unchanged, and models would cost the idle daemon megabytes of memory.
"""

from __future__ import annotations

from typing import Any

from k6d.core.metrics import METRICS as ABOUT
from k6d.core.metrics import ORIGINAL

Schema = dict[str, Any]


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
    }


def _nullable(kind: str) -> Schema:
    return {"anyOf": [{"type": kind}, {"type": "null"}]}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER = _nullable("number")
NAME = _nullable("string")
PROBLEM = _object(
    {"type": TEXT, "title": TEXT, "status": {"type": "integer"}, "detail": TEXT},
)
METRICS = _object(
    {name: _nullable("integer") if ABOUT[name].whole else NUMBER for name in ORIGINAL}
)
VERDICT = _object(
    {
        "anomalies_detected": {"type": "boolean"},
        "severity": {"type": "string", "enum": ["low", "medium", "high", "critical"]},
        "issues": _list(TEXT),
        "recommendations": _list(TEXT),
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    }
)
COMMIT = _object(
    {"id": TEXT, "branch": NAME, "author": NAME, "subject": NAME, "modified": _nullable("boolean")}
)
# A number of the target itself; only the data of one run have them.
TARGET = _object(
    {
        "title": TEXT,
        "unit": TEXT,
        "stat": {"enum": ["average", "max", "min", "last"]},
        "value": NUMBER,
        "start_s": {"type": "number"},
        "step_s": {"type": "number"},
        "values": _list(NUMBER),
    },
    {"query": TEXT, "worse": {"enum": ["higher", "lower"]}, "alert": {"type": "boolean"}},
)
TEST = _object(
    {
        "test_id": TEXT,
        "timestamp": {"type": "string", "format": "date-time"},
        "execution_time": {"type": "number"},
        "metrics": METRICS,
        "anomaly_analysis": VERDICT,
        "status": {"type": "string", "enum": ["completed", "failed"]},
    },
    {
        "script": TEXT,
        "trigger": TEXT,
        "outcome": TEXT,
        "notes": _list(TEXT),
        "tags": {"type": "object", "additionalProperties": TEXT},
        "commit": {"anyOf": [COMMIT, {"type": "null"}]},
        "target": _list(TARGET),
    },
)
TESTS = _object({"tests": _list(TEST), "total_count": COUNT}, {"next": NAME})
STATISTICS = _object(
    {
        "period_days": COUNT,
        "total_tests": COUNT,
        "anomaly_tests": COUNT,
        "anomaly_rate": {"type": "number", "minimum": 0, "maximum": 1},
        "severity_breakdown": {"type": "object", "additionalProperties": COUNT},
    },
    {
        "outcomes": {"type": "object", "additionalProperties": COUNT},
        "imported_tests": COUNT,
        "days": _list(_object({"day": TEXT, "total": COUNT, "anomalies": COUNT})),
        "scripts": _list(_object({"script": TEXT, "total": COUNT, "anomalies": COUNT})),
    },
)
HEALTH = _object({"status": TEXT, "message": TEXT, "timestamp": TEXT}, {"k6_version": TEXT})
JOB = _object(
    {"job": TEXT, "script": TEXT, "trigger": TEXT, "state": TEXT},
    {
        "test_id": NAME,
        "verdict": NAME,
        "error": NAME,
        "planned_s": NUMBER,
        "elapsed_s": NUMBER,
        "ended": TEXT,
    },
)
RETRY = _object({"script": TEXT, "trigger": TEXT, "reason": TEXT, "tries": COUNT, "at": NAME})
QUEUE = _object(
    {"running": _list(JOB), "pending": _list(JOB), "ended": _list(JOB)},
    {"retries": _list(RETRY), "held": NAME},
)
OUTAGES = _object(
    {"outages": _list(_object({"cause": TEXT, "since": NAME, "scripts": _list(TEXT)}))}
)
SCRIPTS = _object(
    {
        "scripts": _list(
            _object(
                {
                    "script": TEXT,
                    "kind": NAME,
                    "place": {"enum": ["folder", "elsewhere", "one-off", "gone"]},
                    "in_folder": {"type": "boolean"},
                    "missing": NAME,
                    "left_alone": NAME,
                    "disabled": NAME,
                }
            )
        )
    }
)
INCIDENTS = _object(
    {
        "incidents": _list(_object({"id": TEXT, "script": TEXT, "severity": TEXT, "since": TEXT})),
        "resolved": _list({"type": "object"}),
        "mutes": {"type": "object", "additionalProperties": TEXT},
    }
)
SETTINGS = _object({"settings": _list(_object({"setting": TEXT, "value": {}, "source": TEXT}))})
SWITCHED = _object({"script": TEXT, "disabled": {"type": "boolean"}})
ACKNOWLEDGED = _object(
    {"script": TEXT, "incident": TEXT, "acknowledged": {"type": "boolean"}, "comment": TEXT}
)
MARK = _object({"id": TEXT, "at": TEXT, "text": TEXT, "script": TEXT})
MARKS = _object({"marks": _list(MARK)})
GROUPS = _object(
    {
        "script": TEXT,
        "after": TEXT,
        "before": TEXT,
        "runs": COUNT,
        "earlier": COUNT,
        "comparisons": _list(_object({"metric": TEXT, "endpoint": NAME, "state": TEXT})),
    }
)
SUITES = _object(
    {
        "suites": _list(
            _object(
                {"name": TEXT, "scripts": _list(TEXT), "stop": {"type": "boolean"}, "cron": NAME}
            )
        )
    }
)
EVENT = _object(
    {
        "hook": TEXT,
        "jobs": _list(_object({"job": TEXT, "script": TEXT})),
        "marks": _list(MARK),
    }
)
PIN = _object({"run": TEXT, "script": TEXT, "reason": TEXT, "at": TEXT})
PINS = _object({"pins": _list(PIN)})
DELETED = _object({"runs": _list(TEXT), "snapshots": COUNT})
UNACCEPTED = _object({"script": TEXT, "levels": COUNT})
MUTE = _object({"script": TEXT, "until": NAME})
ACCEPTED = _object({"script": TEXT, "since": TEXT})
SERIES = _object(
    {
        "script": TEXT,
        "metric": TEXT,
        "workload": TEXT,
        "workloads": _list(_object({"id": TEXT, "label": TEXT, "newest": TEXT})),
        "points": _list(_object({"test_id": TEXT, "timestamp": TEXT, "value": NUMBER})),
    },
    {"marks": _list(_object({"id": TEXT, "at": TEXT, "text": TEXT, "script": TEXT}))},
)
CHANGE = _object(
    {
        "before": NUMBER,
        "after": NUMBER,
        "change_percent": NUMBER,
        "change_points": NUMBER,
        "unit": TEXT,
        "noise_percent": NUMBER,
        "noise": NUMBER,
        "state": NAME,
    }
)
COMPARISON = _object(
    {
        "before": TEXT,
        "after": TEXT,
        "same_script": {"type": "boolean"},
        "same_contents": {"type": "boolean"},
        "same_workload": {"type": "boolean"},
        "metrics": _list(CHANGE),
        "endpoints": _list(_object({"endpoint": TEXT, "p95_ms": CHANGE, "error_rate": CHANGE})),
    }
)


def response(
    schema: Schema, *, status: int = 200, description: str = "What was asked for", **more: str
) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route; `more` are problems by status, such as `_404="…"`."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": description, "content": {"application/json": {"schema": schema}}}
    }
    for code, text in more.items():
        found |= problem(int(code.removeprefix("_")), text)
    return found


def problem(status: int, description: str) -> dict[int | str, dict[str, Any]]:
    """Return one of the `responses` of a route, for an error."""
    content = {"application/problem+json": {"schema": PROBLEM}}
    return {status: {"description": description, "content": content}}


ACCEPTED_JOB = "With wait=false: the job is queued, Location says where to look for it"
RAN = "With wait=true: the run, when it is over"


def ran() -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that queues a job and may wait for its run."""
    return {
        **response(TEST, description=RAN, _409="No run came of it", _429="Too many are pending"),
        **response(JOB, status=202, description=ACCEPTED_JOB),
    }


def text(*media_types: str, description: str) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` of a route that sends a file of one of these types, or 404."""
    content = {media_type: {"schema": TEXT} for media_type in media_types}
    return {
        200: {"description": description, "content": content},
        **problem(404, "There is no such run"),
    }
