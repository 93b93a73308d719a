"""--mode=audit: what is odd about a data set."""

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
    audit(setup.load_frames(request.config, request.split), request.folder)


def audit(examples: Examples, workdir: Path) -> dict:
    """Write audit.json and audit.html of a data set; return the content of the first."""
    content = compute_audit(find_people(examples))
    check_folder(workdir, FILES, flag="--workdir")
    claim(workdir, "audit", FILES, flag="--workdir")
    write_json(workdir / "audit.json", content)
    write_whole(workdir / "audit.html", render_audit(content, examples))
    say(describe(content), f"wrote {workdir / 'audit.json'} and audit.html")
    return content
