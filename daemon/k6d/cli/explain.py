"""The command for explanations: explain."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from k6d import settings as sources
from k6d.cli.common import (
    AsJson,
    Config,
    Data,
    RunId,
    load_settings,
    open_store,
    print_json,
    print_raw,
    print_run,
    run_named,
    say,
    terminal,
)
from k6d.core import logs
from k6d.core.errors import K6dError

if TYPE_CHECKING:
    from k6d.explain.gemini_worker import Request

commands = typer.Typer()


@commands.command()
def explain(
    run_id: RunId = "latest",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the request and send nothing.")
    ] = False,
    as_json: AsJson = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Ask Gemini to explain a run, and store the explanation with it."""
    from k6d.explain.explainer import Explainer

    loaded = load_settings(config, data=data)
    hide = sources.redactor_of(loaded).known
    logs.set_up("debug" if loaded.debug else "error", hide=hide)
    store = open_store(loaded)
    found = store.load(run_named(run_id, loaded))
    explainer = Explainer(loaded, store)
    if dry_run:
        _print_request(explainer.request(found), as_json=as_json)
        return
    explained = asyncio.run(explainer.explain(found, asked=True))
    if explained.explanation is None or explained.explanation.unavailable:
        why = explained.explanation and explained.explanation.unavailable
        raise K6dError(f"run {found.test_id} is not explained: {why}")
    verdict, explanation = explained.anomaly_analysis, explained.explanation
    explained = store.amend(
        found.test_id, lambda run: replace(run, anomaly_analysis=verdict, explanation=explanation)
    )
    if as_json:
        print_raw(store.load_raw(explained.test_id))
    else:
        print_run(explained, terminal())


def _print_request(request: Request, *, as_json: bool) -> None:
    """Print the request without the API key."""
    from k6d.explain.gemini_worker import MAX_OUTPUT_TOKENS

    if as_json:
        fields = asdict(request)
        del fields["api_key"]
        fields["max_output_tokens"] = MAX_OUTPUT_TOKENS
        print_json(fields)
        return
    where = request.endpoint or "Google"
    say(f"To {where}, model {request.model}, temperature {request.temperature:g};")
    say(f"the answer is to be JSON of at most {MAX_OUTPUT_TOKENS} tokens.\n")
    say(f"--- instructions ---\n{request.system}\n\n--- data ---\n{request.data}\n")
    say(f"--- schema of the answer ---\n{orjson.dumps(request.schema).decode()}")
