"""Settings: `load` reads k6d's settings, `parse_script_settings` those of one script.

Mistakes raise a one-line `K6dError` with the source, the key, the problem and what is allowed. The
line never contains a secret.
"""

from k6d.settings.limits import Limit, Limits
from k6d.settings.model import Ai, Api, ScriptSettings, Settings, fields
from k6d.settings.notify import Notify, QuietHours, Route
from k6d.settings.own_secrets import redactor_of
from k6d.settings.running import Capture, Compare, Forward
from k6d.settings.sources import ORIGINAL_NAMES, PATHS, load, parse_script_settings, secret_settings
from k6d.settings.upkeep import Retention, Schedule, ScriptSchedule
from k6d.settings.values import Deadline, Duration, Section

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
    "Limit",
    "Limits",
    "Notify",
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
