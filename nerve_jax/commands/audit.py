"""--mode=audit: what is odd about a data set."""

from collections.abc import Mapping

from nerve_jax.commands import setup
from nerve_jax.commands.request import Request
from nerve_jax.data.examples import Examples
from nerve_jax.data.population import find_people
from nerve_jax.reports.audit import compute_audit, describe
from nerve_jax.reports.audit_page import render_audit
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

    Args:
      examples: of a split.
      workdir: where to write.
      others: of the other splits, whose people should be others.
    """
    content = compute_audit(find_people(examples), others or {})
    check_folder(workdir, FILES, flag="--workdir")
    claim(workdir, "audit", FILES, flag="--workdir")
    write_json(workdir / "audit.json", content)
    write_whole(workdir / "audit.html", render_audit(content, examples))
    say(describe(content), f"wrote {workdir / 'audit.json'} and audit.html")
    return content
