"""Explain a run: build the prompt, ask Gemini within the limits, and merge the answer.

An alert waits for this for at most `ai.timeout`. Failures of Gemini raise no error: the verdict of
the rules stays, and the run records why there is no explanation.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from k6d.core import fork_server
from k6d.core.frozen import frozen
from k6d.core.model import VARIABLE, Explanation, FindingKind, K6dError
from k6d.explain import answer, prompt, snapshot
from k6d.explain.gemini_worker import Failure, Reply, Request
from k6d.explain.merge import merge, of_the_rules
from k6d.explain.quota import Allowance
from k6d.explain.wanted import wanted
from k6d.settings import redactor_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from k6d.core.model import Run
    from k6d.settings import Settings
    from k6d.storage.store import Store

logger = logging.getLogger(__name__)

HELPER = "k6d.explain.gemini_worker"
HISTORY_RUNS = 10
MAX_SOURCE_BYTES = 200_000
HISTORY_LOOKED_AT = 40  # index documents of the first search; if too few are older, all are read
FIRST_WAIT_S = 0.5
LEAST_ATTEMPT_S = 2.0  # an SDK needs a second to start; with less time left no attempt is made
AT_ONCE = 2  # helper processes, and the one that they fork from; it weighs about 75 MiB
AGAIN = {
    *(Failure.UNREACHABLE, Failure.TIMED_OUT, Failure.BUSY, Failure.SERVER),
    *(Failure.EMPTY, Failure.MALFORMED, Failure.HELPER),
}
# Failures that depend on the data of one run; requests about other runs go on without a pause.
OF_THE_RUN = {Failure.BLOCKED, Failure.CUT_OFF}
THROWN = {FindingKind.EXCEPTIONS, FindingKind.SCRIPT_ERROR, FindingKind.ABORTED}
NO_KEY = "no key: set GEMINI_API_KEY, or ai.api_key by a credential"
STOPPING = "k6d was stopping"
KILLED = "k6d ended before there was an answer; k6d explain asks again"


@frozen
class _Tried:
    """The result of the latest attempt; `failure` is None when there was an answer."""

    explanation: Explanation
    failure: Failure | None = None
    retry_after_s: float | None = None


class Explainer:
    """Explains runs with one set of settings; set `stop` to cancel explanations in progress."""

    def __init__(
        self, settings: Settings, store: Store, *, stop: asyncio.Event | None = None
    ) -> None:
        self._settings = settings
        self._ai = settings.ai
        self._store = store
        self._stop = stop or asyncio.Event()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._allowance = Allowance(
            store.state("explanations"), per_day=self._ai.per_day, identity=self._identity()
        )

    async def explain(
        self, run: Run, *, env: Mapping[str, str] | None = None, asked: bool = False
    ) -> Run:
        """The run with its explanation merged into its verdict; unchanged if `ai.when` excludes it.

        `env` are the variables given to this run, None when they are not known any more. `asked`: a
        person asked for this explanation, so `ai.when` and a pause after failures do not apply.
        """
        if not (asked or wanted(run, self._ai)):
            return run
        rules = of_the_rules(run.anomaly_analysis, run.explanation)
        run = replace(run, anomaly_analysis=rules, explanation=None)
        started = time.monotonic()
        try:
            explanation = await self._explanation(run, env, asked=asked)
        except K6dError as error:  # the disk refused
            explanation = Explanation(unavailable=str(error))
        explanation = replace(explanation, elapsed_s=round(time.monotonic() - started, 3))
        if explanation.unavailable is None:
            logger.info("run %s explained by %s", run.test_id, explanation.model)
        elif explanation.attempts:
            logger.warning("run %s not explained: %s", run.test_id, explanation.unavailable)
        verdict, explanation = merge(rules, explanation, suspicions_alarm=self._ai.suspicions_alarm)
        return replace(run, anomaly_analysis=verdict, explanation=explanation)

    def given_up(self, run: Run) -> Run:
        """The run, whose explanation k6d's end interrupted, with the reason why it has none.

        It is not explained automatically after a restart, because its alert has waited already.
        """
        if run.explanation or not wanted(run, self._ai):
            return run
        why = KILLED if self._ai.api_key else NO_KEY
        return replace(run, explanation=Explanation(unavailable=why))

    def request(self, run: Run, *, env: Mapping[str, str] | None = None) -> Request:
        """The request about the run, without the API key; K6dError when the disk refuses."""
        rules = of_the_rules(run.anomaly_analysis, run.explanation)
        made = self._prompt(replace(run, anomaly_analysis=rules), env)
        return Request(
            sdk=self._ai.sdk,
            api_key="",
            endpoint=self._ai.endpoint,
            model=self._ai.model,
            temperature=self._ai.temperature,
            system=made.system,
            data=made.data,
            schema=answer.SCHEMA,
            timeout_s=self._ai.timeout,
        )

    def _identity(self) -> str:
        """A hash of the API key, model, endpoint and SDK, for the state file."""
        key = self._ai.api_key.get_secret_value() if self._ai.api_key else ""
        parts = (key, self._ai.model, self._ai.endpoint or "", self._ai.sdk)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    async def _explanation(
        self, run: Run, env: Mapping[str, str] | None, *, asked: bool
    ) -> Explanation:
        if self._ai.api_key is None:
            return Explanation(unavailable=NO_KEY)
        if self._stop.is_set():
            return Explanation(unavailable=STOPPING)
        paused = None if asked else self._allowance.open_until(datetime.now(UTC))
        if paused:
            why = f"paused until {paused[0]:%Y-%m-%d %H:%M:%S} UTC after a failure: {paused[1]}"
            return Explanation(unavailable=why)
        deadline = time.monotonic() + self._ai.timeout
        asking = asyncio.create_task(self._ask_in_turn(run, env, deadline))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                return Explanation(unavailable=STOPPING)
            tried = asking.result()
        finally:
            for task in (asking, stopping):
                task.cancel()
            await asyncio.gather(asking, stopping, return_exceptions=True)
        self._count_result(tried)
        return tried.explanation

    def _count_result(self, tried: _Tried) -> None:
        """Count the success or failure for the pause, except failures that depend on the run."""
        explanation = tried.explanation
        if explanation.unavailable is None:
            self._allowance.succeeded()
        elif tried.failure is not None and tried.failure not in OF_THE_RUN:
            self._allowance.failed(
                explanation.unavailable or "", datetime.now(UTC), retry_after_s=tried.retry_after_s
            )

    async def _ask_in_turn(
        self, run: Run, env: Mapping[str, str] | None, deadline: float
    ) -> _Tried:
        """Ask when fewer than AT_ONCE helpers run; give up when that takes until the deadline."""
        try:
            async with asyncio.timeout(deadline - time.monotonic() - LEAST_ATTEMPT_S):
                await self._at_once.acquire()
        except TimeoutError:
            return _untried("other runs were being explained all the time there was")
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                request = await asyncio.to_thread(self.request, run, env=env)
            return await self._ask(request, deadline)
        except TimeoutError:
            return _untried("there was no time left to ask")
        finally:
            self._at_once.release()

    async def _ask(self, request: Request, deadline: float) -> _Tried:
        """Repeat attempts, with a doubling wait between, up to the attempts, budget or deadline."""
        endpoints = _endpoints(request)
        key = self._ai.api_key.get_secret_value() if self._ai.api_key else ""
        most = 1 if self._allowance.on_trial else self._ai.attempts
        tried = _Tried(explanation=Explanation(model=self._ai.model))
        for attempt in range(1, most + 1):
            if not self._allowance.take(datetime.now(UTC)):
                why = f"the {self._ai.per_day} requests of this day (ai.per_day) are used up"
                return replace(tried, explanation=replace(tried.explanation, unavailable=why))
            left_s = deadline - time.monotonic()
            tried = await _attempt(
                replace(request, api_key=key, timeout_s=max(left_s, 0.1)), endpoints
            )
            tried = replace(
                tried,
                explanation=replace(tried.explanation, model=self._ai.model, attempts=attempt),
            )
            wait_s = tried.retry_after_s
            if wait_s is None:
                wait_s = FIRST_WAIT_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)  # noqa: S311
            out_of_time = time.monotonic() + wait_s + LEAST_ATTEMPT_S > deadline
            if tried.failure not in AGAIN or attempt == most or out_of_time:
                break
            await asyncio.sleep(wait_s)
        return tried

    def _prompt(self, run: Run, env: Mapping[str, str] | None) -> prompt.Prompt:
        withheld = []
        source, workload = None, None
        if run.snapshot is not None:
            archive = self._store.snapshot_path(run.snapshot.id)
            workload = snapshot.workload(archive)
            if self._ai.send_source:
                source = snapshot.source(archive, most=MAX_SOURCE_BYTES)
        if not self._ai.send_source:
            withheld.append("source: kept at home")
        if env is None and any(name.startswith(VARIABLE) for name in run.overrides):
            run = _without_script_output(run)
            withheld.append("log, errors: they may hold the values of this run's variables")
        return prompt.build(
            run,
            source=source,
            workload=workload,
            history=self._history(run),
            redactor=redactor_of(self._settings, env, all_values=True),
            withheld=withheld,
        )

    def _history(self, run: Run) -> list[dict[str, object]]:
        """Index documents of earlier comparable runs of the script and workload, newest first."""
        if run.snapshot is None:
            return []
        workload = run.snapshot.workload
        for limit in (HISTORY_LOOKED_AT, None):
            rows = self._store.history(run.script, limit, workload=workload, comparable=True)
            earlier = [row for row in rows if row["test_id"] < run.test_id][:HISTORY_RUNS]
            if len(earlier) == HISTORY_RUNS or len(rows) < HISTORY_LOOKED_AT:
                break
        return earlier


def _without_script_output(run: Run) -> Run:
    """The run without texts that the script printed or threw.

    They may hold values of the run's variables, which cannot be redacted when they are unknown.
    """
    verdict = run.anomaly_analysis
    findings = [
        replace(found, message=found.message.partition(":")[0]) if found.kind in THROWN else found
        for found in verdict.findings
    ]
    return replace(
        run,
        log=replace(run.log, head="", tail="", cut_lines=0),
        execution=replace(run.execution, error=None),
        anomaly_analysis=replace(verdict, findings=findings),
    )


def _untried(why: str) -> _Tried:
    return _Tried(explanation=Explanation(unavailable=why))


async def _attempt(request: Request, endpoints: list[str]) -> _Tried:
    """Send one request and read the answer."""
    reply = await _helper(request)
    if reply.text is not None:
        try:
            found = answer.read(reply.text, given=request.data, endpoints=endpoints)
            return _Tried(explanation=replace(found, sdk=reply.sdk))
        except answer.MalformedError as error:
            reply = Reply(sdk=reply.sdk, failure=Failure.MALFORMED, detail=str(error))
    failure = Failure(reply.failure or Failure.HELPER)
    why = ": ".join(filter(None, (failure, reply.detail)))
    return _Tried(
        explanation=Explanation(unavailable=why, sdk=reply.sdk or None),
        failure=failure,
        retry_after_s=reply.retry_after_s,
    )


def _endpoints(request: Request) -> list[str]:
    """The endpoints in the request, without their methods; the answer may contain these links."""
    rows = orjson.loads(request.data).get("endpoints", [])
    return [str(row["endpoint"]).split()[-1] for row in rows]


async def _helper(request: Request) -> Reply:
    """The reply to one request by a helper process, which is killed after `timeout_s`."""
    try:
        program = (HELPER, request.sdk)
        timeout_s = request.timeout_s
        return Reply(**await fork_server.ask(program, asdict(request), timeout_s=timeout_s))
    except TimeoutError:
        detail = f"nothing within {request.timeout_s:.1f} s"
        return Reply(sdk="", failure=Failure.TIMED_OUT, detail=detail)
    except (fork_server.WorkerError, TypeError) as error:
        return Reply(sdk="", failure=Failure.HELPER, detail=str(error))
