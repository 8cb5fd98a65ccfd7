"""Makes the result of a run on a cluster from what its runners left."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from k6d.analysis import runners as runner_rules
from k6d.core.frozen import frozen
from k6d.core.measurements import Generator, Log, Runner, Summary
from k6d.core.model import THRESHOLDS_CROSSED, Outcome
from k6d.execution import outcome, summary
from k6d.execution.kubernetes import merge, thresholds
from k6d.execution.kubernetes import pods as pod_words
from k6d.execution.local import k6
from k6d.execution.log_buffer import LogBuffer
from k6d.execution.measure import Observed, OnCluster
from k6d.execution.timeline import ms

if TYPE_CHECKING:
    from pathlib import Path

    from k6d.execution.kubernetes.captures import Captures
    from k6d.execution.kubernetes.lifecycle import Ended
    from k6d.execution.kubernetes.pod_log import PodLog
    from k6d.execution.kubernetes.pods import RunnerPod
    from k6d.execution.kubernetes.testrun import Placement
    from k6d.execution.kubernetes.thresholds import Wanted
    from k6d.execution.summary import Parts

NO_PUSH = (
    "no runner pushed anything: can pods reach kubernetes.receiver_url, and does it lead to "
    "kubernetes.receiver_bind and receiver_port?"
)


@frozen
class Left:
    """What a run on a cluster left; `unread` says why the log of a runner could not be read."""

    ended: Ended
    logs: dict[int, PodLog] = field(default_factory=dict)
    unread: dict[int, str] = field(default_factory=dict)
    captures: Captures
    wanted: list[Wanted]
    placement: Placement
    where: str = "Kubernetes"
    command: list[str]
    planned_s: float | None
    deadline_s: float | None
    binary: k6.K6
    files: Path
    log_bytes: int


def notes(left: Left) -> list[str]:
    """Return notes on what the numbers lack."""
    if any(one.overflowed for one in left.captures.streams()):
        return ["the runners sent more sets of tags than k6d keeps: some percentiles lack samples"]
    return []


def observed(left: Left) -> Observed:
    """Add up what the runners left, and judge the script's thresholds over it."""
    runners = [_runner(number, left) for number in range(1, left.placement.parallelism + 1)]
    totals = _totals(left)
    failure = _failure(left, runners, totals)
    crossed = totals is not None and any(one.crossed for one in totals.thresholds)
    capture = left.captures.merged()
    lasted_s = (totals.metrics.duration_ms or 0.0) / 1000 if totals else left.ended.elapsed_s
    version = left.placement.k6_version or left.binary.version
    return Observed(
        ended=_ended(left, crossed=crossed),
        k6=replace(left.binary, version=version),
        command=left.command,
        planned_s=left.planned_s,
        deadline_s=left.deadline_s,
        summary=totals,
        capture=capture,
        generator=Generator(
            reasons=runner_rules.short_of_cpu(runners, lasted_s),
            doubts=runner_rules.differences(runners),
        ),
        log=_joined(left, "log"),
        output=_joined(left, "output"),
        files=left.files,
        cluster=OnCluster(
            where=left.where,
            placement=left.placement.document(),
            runners=runners,
            failure=failure,
        ),
    )


def _parts(left: Left) -> list[Parts]:
    found = (left.logs[number].parts for number in sorted(left.logs))
    return [parts for parts in found if parts is not None]


def _totals(left: Left) -> Summary | None:
    """Return the merged summary with its judged thresholds; None if no runner wrote one."""
    parts = _parts(left)
    if not parts:
        return None
    pushed = left.captures.streams()
    whole = merge.merged(parts, pushed)
    judged = thresholds.judged(left.wanted, whole.metrics, pushed)
    return summary.assembled(replace(whole, thresholds=judged))


def _runner(number: int, left: Left) -> Runner:
    pod, log = left.ended.pods.get(number), left.logs.get(number)
    capture = left.captures.of(number)
    load = capture.load_so_far() if capture else None
    failed = load.failed if load else None
    return Runner(
        number=number,
        node=pod.node if pod else None,
        exit_code=pod.exit_code if pod else None,
        error=_error(number, left, pod, log),
        requests=load.requests if load else 0,
        failed=failed,
        error_rate=round(100 * failed / load.judged, 4) if load and failed is not None else None,
        p95_ms=ms(load.latency, 0.95) if load else None,
        late_seconds=capture.late_seconds() if capture else 0,
    )


def _error(number: int, left: Left, pod: RunnerPod | None, log: PodLog | None) -> str | None:
    """Return what went wrong with a runner itself, or with what k6d has of it."""
    ended = left.ended
    if ended.failure and ended.failure.runner == number:
        return ended.failure.error
    if pod is None:
        return None if ended.failure else "it was never seen"
    if killed := pod_words.killed(pod):
        return killed
    cut_short = ended.failure or ended.stopped or ended.timed_out or ended.cut_by
    if cut_short or pod.exit_code not in outcome.MEASURED:
        return None
    if log is None or log.parts is None:
        why = left.unread.get(number)
        return f"its log cannot be read: {why}" if why else "its log has no summary of k6"
    requests = log.parts.metrics.get("http_reqs", {}).get("count", 0)
    capture = left.captures.of(number)
    if capture is None and log.parts.metrics:
        return "it pushed nothing: can it reach kubernetes.receiver_url?"
    came = capture.progress()[1].requests if capture else 0
    if came < requests:
        return f"{requests - came:.0f} of its {requests:.0f} requests are missing in its pushes"
    return None


def _failure(
    left: Left, runners: list[Runner], totals: Summary | None
) -> tuple[Outcome, str] | None:
    """Return the outcome that replaces k6's own; N of N runners must have reported."""
    ended = left.ended
    if ended.failure:
        words = ended.failure.error
        if ended.failure.runner and (said := _last_words(left, ended.failure.runner)):
            words = f"{words}: {said}"
        return ended.failure.outcome, words
    if ended.stopped or ended.timed_out or ended.cut_by:
        return None
    if not left.captures.numbers() and totals and totals.metrics.iterations:
        return Outcome.CLUSTER, NO_PUSH
    broken = [one for one in runners if one.error]
    if not broken or any(one.exit_code not in (*outcome.MEASURED, None) for one in runners):
        killed = [one for one in broken if one.exit_code == pod_words.SIGKILLED]
        if not killed:
            return None
        broken = killed
    listed = "; ".join(f"runner {one.number} of {len(runners)}: {one.error}" for one in broken[:3])
    more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
    if totals is None:
        listed = f"no runner left a summary; {listed}"
    return Outcome.INCOMPLETE, f"{listed}{more}"


def _last_words(left: Left, number: int) -> str | None:
    """Return why a runner ended before the test, by its log."""
    pod, log = left.ended.pods.get(number), left.logs.get(number)
    if log is None or pod is None or left.ended.elapsed_s or pod_words.killed(pod):
        return None
    if log.log.errors:
        return outcome.one_line(log.log.errors[0])
    printed = log.output.log().head.splitlines()
    return printed[-1] if printed else None


def _ended(left: Left, *, crossed: bool) -> k6.Ended:
    """Return one end for all runners, as of one k6."""
    ended = left.ended
    codes = {number: pod.exit_code for number, pod in ended.pods.items()}

    def was_stopped(number: int) -> bool:
        return codes.get(number) in (None, *pod_words.STOPPED)

    # First those that ended by themselves: the others were stopped for that reason.
    order = sorted({*codes, *left.logs}, key=lambda number: (was_stopped(number), number))
    logs = [left.logs[number] for number in order if number in left.logs]
    errors = [error for log in logs for error in log.log.errors]
    known = [code for number in order if (code := codes.get(number)) is not None]
    bad = [code for code in known if code not in outcome.MEASURED]
    code = bad[0] if bad else max(known, default=0)
    if ended.cut_by:
        code = THRESHOLDS_CROSSED
        errors.append(
            f"thresholds on metrics '{ended.cut_by.metric}' were crossed; at least one "
            f"{outcome.ENDED_EARLY}, so k6d stopped all runners"
        )
    elif crossed and not bad:
        code = THRESHOLDS_CROSSED
    firsts = [log.log.first_exception for log in logs if log.log.first_exception]
    return k6.Ended(
        exit_code=code,
        elapsed_s=ended.elapsed_s,
        timed_out=ended.timed_out,
        stopped=ended.stopped,
        errors=errors,
        exceptions=sum(log.log.exceptions for log in logs),
        first_exception=firsts[0] if firsts else None,
    )


def _joined(left: Left, which: str) -> Log:
    """Return the logs of all runners as one; with several, each line names its runner."""
    joined = LogBuffer(left.log_bytes)
    several = left.placement.parallelism > 1
    for number in sorted(left.logs):
        one = (left.logs[number].log if which == "log" else left.logs[number].output).log()
        for line in filter(None, [*one.head.splitlines(), *one.tail.splitlines()]):
            joined.feed(f"{f'runner {number}: ' if several else ''}{line}\n".encode())
    joined.close()
    return joined.log()
