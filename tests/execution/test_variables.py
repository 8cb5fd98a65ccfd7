"""The environment of k6: which variables it gets, for a snapshot, a plan and a run."""

from __future__ import annotations

import pytest

from k6d.execution.local import variables


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("K6_OUT", "json=all.json"),
        ("K6_LOG_FORMAT", "raw"),
        ("K6_LOG_OUTPUT", "none"),
        ("K6_CONSOLE_OUTPUT", "console.txt"),
        ("K6_NO_SUMMARY", "true"),
        ("K6_SUMMARY_MODE", "disabled"),
        ("K6_SUMMARY_EXPORT", "other.json"),
        ("K6_NEW_MACHINE_READABLE_SUMMARY", "true"),
        ("K6_PAUSED", "true"),
        ("K6_LINGER", "true"),
        ("K6_TYPE", "archive"),
        ("K6_ADDRESS", "localhost:6565"),
        ("K6_INCLUDE_SYSTEM_ENV_VARS", "false"),
        ("K6_PROMETHEUS_RW_SERVER_URL", "http://elsewhere/"),
        ("K6_PROMETHEUS_RW_TREND_STATS", "p(95)"),
        ("K6_PROMETHEUS_RW_HEADERS_X", "y"),
    ],
)
def test_what_would_change_what_k6d_reads_is_left_out(name: str, value: str) -> None:
    """Summary, log, outputs, pausing: k6 does not get it, and one line says so."""
    assert name not in variables.environment({name: value})
    (line,) = variables.left_out({name: value, "BASE_URL": "http://x"})
    assert line.startswith(f"{name} is not passed to k6: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BASE_URL", "http://x"),
        ("K6_VUS", "3"),
        ("K6_THROW", "true"),
        ("K6_RPS", "5"),
        ("K6_SUMMARY_MODE", "full"),
        ("K6_SUMMARY_TREND_STATS", "p(42)"),
        ("K6_NO_THRESHOLDS", "true"),
        ("K6_BROWSER_HEADLESS", "false"),
        ("K6_SECRET_SOURCE", "file=secrets"),
        ("K6_FEATURES", "freeze-env"),
        ("K6_MY_OWN", "1"),
    ],
)
def test_all_other_variables_are_passed(name: str, value: str) -> None:
    """The options of a test are its author's, and so are names that k6 does not know."""
    assert variables.environment({name: value})[name] == value
    assert variables.left_out({name: value}) == []


def test_a_snapshot_keeps_the_workload_that_it_holds() -> None:
    """The variables that it came from are shown to the script and are no options of the run."""
    env, flags = variables.for_snapshot({"K6_VUS": "3", "K6_STAGES": "1s:2", "K6_RPS": "5"})
    assert env == {"K6_RPS": "5"}
    assert flags == ["--env", "K6_VUS=3", "--env", "K6_STAGES=1s:2"]


@pytest.mark.parametrize("version", [(0, 57), (1, 1), (1, 7), (2, 0)])
def test_native_histograms_by_their_old_name(version: tuple[int, int]) -> None:
    """Up to k6 2.0 a variable of the output asks for them."""
    made = variables.remote_write("http://x/", version=version, env={})
    assert made["K6_PROMETHEUS_RW_TREND_AS_NATIVE_HISTOGRAM"] == "true"
    assert "K6_FEATURES" not in made


@pytest.mark.parametrize("version", [(2, 1), (2, 2), (2, 10), (3, 0)])
@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ("", "native-histograms"),
        ("freeze-env, merge-run-tags", "freeze-env,merge-run-tags,native-histograms"),
        ("native-histograms", "native-histograms"),
    ],
)
def test_native_histograms_are_a_feature_since_2_1(
    version: tuple[int, int], given: str, flags: str
) -> None:
    """The flags that the user sets stay on beside ours."""
    made = variables.remote_write("http://x/", version=version, env={"K6_FEATURES": given})
    assert made["K6_FEATURES"] == flags
    assert "K6_PROMETHEUS_RW_TREND_AS_NATIVE_HISTOGRAM" not in made


def test_k6_collects_less_garbage_unless_the_user_says_how_much() -> None:
    assert variables.busy({"A": "b"}) == {"A": "b", "GOGC": "150"}
    assert variables.busy({"GOGC": "50"}) == {"GOGC": "50"}
    assert variables.brief({"GOGC": "50"})["GOGC"] == "50"
    assert variables.brief({"SSL_CERT_FILE": "/own.pem"})["SSL_CERT_FILE"] == "/own.pem"
