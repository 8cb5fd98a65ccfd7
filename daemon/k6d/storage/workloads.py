"""The workloads of a script: its own, and those of runs with options given beside it.

A run with options of its own (`k6d run shop.js --vus 1`) is an ad-hoc run (`Run.ad_hoc`). It has
its own history, and says nothing about the script's own workload. As long as a script has ad-hoc
runs only, the newest of them stands for the script. Runs with variables alone are the script's own,
and compare with runs that had the same values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from k6d.core.errors import K6dError
from k6d.core.frozen import frozen
from k6d.core.terms import Trigger

if TYPE_CHECKING:
    from k6d.core.model import Run
    from k6d.storage.query import IndexDocument, Query
    from k6d.storage.store import Store

OWN, ALL = "own", "all"
# A script whose options change with every run has as many workloads; people choose from a list.
MOST_LISTED = 20


class UnknownWorkloadError(K6dError):
    """Somebody named a workload that the script does not have."""


class NoComparableRunError(K6dError):
    """No run of the script can be compared with others."""


@frozen
class Workload:
    """A workload by its id, with its runs counted, re-runs left out.

    `own` is the script's own at present. `label` says in words what it is, `newest` is the id of
    its newest run.
    """

    id: str
    label: str
    own: bool
    runs: int
    newest: str


def workloads(store: Store, script: str) -> list[Workload]:
    """The workloads of a script, its own first, then by their newest run."""

    def of(document: IndexDocument) -> tuple[str, bool, str] | None:
        its = document["script"] == script and document["trigger"] != Trigger.CONFIRMATION
        if not its or not document["workload"]:
            return None
        return document["workload"], document["overrides"], document["test_id"]

    counts: dict[str, int] = {}
    newest: dict[str, tuple[bool, str]] = {}
    found = store.cached(
        ("workloads", script), lambda read: list(filter(None, map(of, read))), script=script
    )
    for workload, overrides, test_id in found:
        counts[workload] = counts.get(workload, 0) + 1
        if workload not in newest or (newest[workload][0] and not overrides):
            newest[workload] = overrides, test_id
    own = next((one for one, (overrides, _) in newest.items() if not overrides), None)
    ordered = sorted(newest, key=lambda one: (one == own, newest[one][1]), reverse=True)
    return [
        Workload(
            id=one,
            label=_label(store, newest[one], own=one == own),
            own=one == own,
            runs=counts[one],
            newest=newest[one][1],
        )
        for one in ordered[:MOST_LISTED]
    ]


def find_workload(known: list[Workload], given: str) -> str:
    """The id of the workload that `given` names: its id, a start of it, or "own" or "all".

    UnknownWorkloadError lists the workloads there are.
    """
    found = [one.id for one in known if given and one.id.startswith(given)]
    if given in (OWN, ALL):
        return given
    if len(found) == 1:
        return found[0]
    there = "; ".join(f"{one.id} ({one.label})" for one in known) or "none yet"
    raise UnknownWorkloadError(f"no workload {given[:40]!r}; the workloads of this script: {there}")


def narrowed(query: Query, store: Store, workload: str) -> Query:
    """The query of a script's runs, of one workload only; "own" and "all" as `find_workload`."""
    if workload == ALL:
        return query
    if workload != OWN:
        return replace(query, workload=workload)
    return (
        replace(query, overrides=False) if query.script and has_own(store, query.script) else query
    )


def has_own(store: Store, script: str) -> bool:
    """Whether the script ever ran with no options but its own."""
    return bool(store.history(script, 1, overrides=False))


def newest_comparable(store: Store, script: str, workload: str = OWN) -> IndexDocument | None:
    """The newest run of the workload with which others may be compared."""
    filters: dict[str, object] = {"comparable": True}
    if workload not in (OWN, ALL):
        filters["workload"] = workload
    elif workload == OWN and has_own(store, script):
        filters["overrides"] = False
    return next(iter(store.history(script, 1, newest=None, **filters)), None)


def newest_run(store: Store, script: str, workload: str = OWN) -> Run:
    """The run of `newest_comparable`; NoComparableRunError if there is none."""
    found = newest_comparable(store, script, workload)
    if found is None:
        raise NoComparableRunError(
            f"{script} has no comparable run yet; k6d show {script} says why"
        )
    return store.load(found["test_id"])


def _label(store: Store, newest: tuple[bool, str], *, own: bool) -> str:
    ad_hoc, test_id = newest
    try:
        given = store.load(test_id).overrides
    except K6dError:
        given = {}
    if ad_hoc:
        return ", ".join(f"{name} {value}" for name, value in given.items()) or "with other options"
    variables = ", ".join(name for name in given)
    return f"the script's own{'' if own else ', earlier'}{variables and f', with {variables}'}"
