"""Settings: `load` reads k6d's settings, `parse_script_settings` those of one script.

Mistakes raise a one-line `K6dError` with the source, the key, the problem and what is allowed. The
line never contains a secret.

The names are imported when they are first used: pydantic and the models take 0.2 s, and commands
that only look at stored results need `settings.files` alone.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from k6d.settings.files import ORIGINAL_NAMES, PATHS
    from k6d.settings.kubernetes import Kubernetes
    from k6d.settings.limits import Limit, Limits
    from k6d.settings.model import Ai, Api, ScriptSettings, Settings, fields
    from k6d.settings.notify import Notify, QuietHours, Route
    from k6d.settings.own_secrets import redactor_of
    from k6d.settings.prometheus import Metric, Prometheus
    from k6d.settings.running import Capture, Compare, Forward
    from k6d.settings.sources import load, parse_script_settings, secret_settings
    from k6d.settings.upkeep import Retention, Schedule, ScriptSchedule
    from k6d.settings.values import Deadline, Duration, Section

# k6d has no plugins of pydantic; looking for them reads the metadata of all installed packages.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

_MODULES = {
    "files": ("ORIGINAL_NAMES", "PATHS"),
    "kubernetes": ("Kubernetes",),
    "limits": ("Limit", "Limits"),
    "model": ("Ai", "Api", "ScriptSettings", "Settings", "fields"),
    "notify": ("Notify", "QuietHours", "Route"),
    "own_secrets": ("redactor_of",),
    "prometheus": ("Metric", "Prometheus"),
    "running": ("Capture", "Compare", "Forward"),
    "sources": ("load", "parse_script_settings", "secret_settings"),
    "upkeep": ("Retention", "Schedule", "ScriptSchedule"),
    "values": ("Deadline", "Duration", "Section"),
}
__all__ = [
    "ORIGINAL_NAMES",
    "PATHS",
    "Ai",
    "Api",
    "Capture",
    "Compare",
    "Deadline",
    "Duration",
    "Forward",
    "Kubernetes",
    "Limit",
    "Limits",
    "Metric",
    "Notify",
    "Prometheus",
    "QuietHours",
    "Retention",
    "Route",
    "Schedule",
    "ScriptSchedule",
    "ScriptSettings",
    "Section",
    "Settings",
    "fields",
    "load",
    "parse_script_settings",
    "redactor_of",
    "secret_settings",
]


def __getattr__(name: str) -> object:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"k6d.settings.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
