"""--mode=audit: what is odd about a data set."""

from collections.abc import Mapping

from nerve_jax.commands import setup
from nerve_jax.commands.request import Request
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import find_people
from nerve_jax.reports.audit import audit_structures, compute_audit
from nerve_jax.reports.audit_page import render_audit
from nerve_jax.reports.audit_text import describe, describe_structures
from nerve_jax.system.claims import check_folder, claim
from nerve_jax.system.console import say
from nerve_jax.system.files import Path, write_json, write_whole

FILES = ("audit.json", "audit.html")


def run(request: Request) -> None:
    """Run the command."""
    check_folder(request.folder, FILES, flag="--workdir")  # before frames are loaded
    config, split = request.config, request.split
    examples = setup.load_frames(config, split)
    names = [name for name in setup.list_splits(config) if name != split]
    others = {name: setup.load_frames(config, name) for name in names}
    audit(examples, request.folder, others)


def audit(
    examples: Examples, workdir: Path, others: Mapping[str, Examples] | None = None
) -> dict:
    """Write audit.json and audit.html of a data set; return the content of the first.

    That is `structures`, the names of all; what `compute_audit` finds, of the labels of
    the first; and `by_structure`, what `audit_structures` finds of the others.

    Args:
      examples: of a split.
      workdir: where to write.
      others: of the other splits, whose people should be others.
    """
    people = find_people(examples)
    content = {
        "structures": list(examples.structures),
        **compute_audit(people, others or {}),
        "by_structure": audit_structures(people),
    }
    check_folder(workdir, FILES, flag="--workdir")
    claim(workdir, "audit", FILES, flag="--workdir")
    write_json(workdir / "audit.json", content)
    write_whole(workdir / "audit.html", render_audit(content, examples))
    say(
        describe(content),
        *describe_structures(content),
        f"wrote {workdir / 'audit.json'} and audit.html",
    )
    return content
