"""An outage and the tries that wait are seen in the API, on the pages and in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from k6d.core.model import Outcome
from support.receivers import closed_port
from support.serving import Served

if TYPE_CHECKING:
    from pathlib import Path


def test_a_module_server_that_is_down_is_seen_everywhere(tmp_path: Path) -> None:
    """Since when, whose verdict is missing, why, and when it is tried again."""
    served = Served(tmp_path)
    try:
        served.start()
        module = f"https://127.0.0.1:{closed_port()}/x.js"
        served.write("a.js", f"import 'k6';\nimport x from '{module}';\nexport default () => x;\n")
        assert served.run("a.js").execution.outcome is Outcome.MODULE_SERVER
        queue = served.until(
            lambda: (found := served.get("/api/v1/queue").json)["retries"] and found, "a retry"
        )
        (retry,) = queue["retries"]
        assert (retry["script"], queue["held"]) == ("a.js", None)
        assert retry["tries"] >= 1
        assert "connection refused" in retry["reason"]
        assert retry["at"] > served.runs("a.js")[0].timestamp.isoformat()
        (outage,) = served.until(
            lambda: served.get("/api/v1/outages").json["outages"], "the outage to be noted"
        )
        assert (outage["cause"], outage["scripts"]) == ("module server unavailable", ["a.js"])
        for page in ("/", "/queue"):
            served.until(
                lambda page=page: "connection refused" in served.get(page).text,
                f"{page} between two tries",
            )
        line = "module server unavailable since "
        assert line in served.get("/").text
        page = served.get("/runs/latest").text
        assert "inconclusive: the server of an imported module is unavailable" in page
        shown = served.call("show", "latest").stdout
        assert "high" not in shown, "a run that says nothing of the target has no severity"
        for command in ("doctor", "scripts", "incidents"):
            shown = served.call(command)
            assert line in shown.stdout, command
            assert "a.js has no verdict after" in shown.stdout, command
    finally:
        served.close()
