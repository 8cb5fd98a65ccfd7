"""The record of a snapshot: the archive of a script that ran."""

from __future__ import annotations

from dataclasses import field

from k6d.core.frozen import frozen

# How the ids of such snapshots begin, and their workloads, which compare with nothing.
IMPORTED_TEXT = "imported-"


@frozen
class Snapshot:
    """The immutable archive of a script that ran.

    `fingerprint` is a hash of the script and of every file that it imports or opens. `workload` is
    a hash of what makes runs comparable: scenarios, virtual users, durations. `id` covers the
    options and every member of the archive, and names the stored archive. `dependencies` maps
    absolute paths to the SHA-256 of their contents, `remote` the modules that came from a server.
    """

    id: str
    fingerprint: str
    workload: str
    dependencies: dict[str, str] = field(default_factory=dict)
    remote: dict[str, str] = field(default_factory=dict)

    @property
    def is_text_only(self) -> bool:
        """Whether it holds the text of an imported script, which k6 has never read."""
        return self.id.startswith(IMPORTED_TEXT)
