"""Put the built libraries into a folder, under the names by which they are asked for, and prove with a
fresh process which files the loader maps from there.

Everything that will change is shown first. Files change by rename, so a process that has the old one
mapped goes on with it; what was replaced is kept in the folder, and --undo puts it back. An interrupted
deployment is finished by deploying again, or taken back by --undo.

--json prints one object: folder, changes, mapped (process ids by file), proofs, ok; with --undo:
folder, restored, foreign, ok. Exit status 1 when the loader maps another file, or --undo found names that
somebody else has changed since.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.deploy.folder import Entry, Plan
    from workbench.deploy.proof import Proof


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from workbench.commands.common import add_directory, add_json

    parser.usage = "shimbench deploy [DIR] --to FOLDER [--dry-run | --yes | --undo] [--json]"
    add_directory(parser)
    parser.add_argument("--to", type=Path, metavar="FOLDER", required=True, help="where the libraries go")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    parser.add_argument("--undo", action="store_true", help="take back what was deployed to FOLDER")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    folder = options.to.absolute()
    return _undo(folder, options) if options.undo else _deploy(folder, options)


def _deploy(folder: Path, options: argparse.Namespace) -> int:
    from workbench.commands.common import confirm, print_json
    from workbench.config import load_config
    from workbench.deploy.folder import apply, make_plan
    from workbench.deploy.proof import prove, who_maps
    from workbench.loop.companions import with_companions

    libraries = with_companions(load_config(options.directory).shim.libraries)
    plan = make_plan(folder, libraries)
    changes = list(plan.changes())
    mapped = who_maps(folder / entry.name for _, entry in changes if not (folder / entry.name).is_symlink())
    if not options.json or not (options.yes or options.dry_run):
        _show(plan, changes, mapped)
    report: dict[str, Any] = {
        "folder": str(folder),
        "changes": [_as_json(what, entry) for what, entry in changes],
        "mapped": {str(path): pids for path, pids in mapped.items()},
    }
    if options.dry_run:
        if options.json:
            print_json({**report, "proofs": [], "ok": True})
        return 0
    if changes and not options.yes:
        confirm(f"change {folder}?")
    apply(plan)
    proofs = prove(folder, libraries, os.environ)
    good = all(proof.ok for proof in proofs)
    if options.json:
        print_json({**report, "proofs": [_proof_json(proof) for proof in proofs], "ok": good})
    else:
        for proof in proofs:
            verdict = "ok  " if proof.ok else "FAIL"
            print(f"{verdict} {proof.soname} -> {proof.mapped or 'nothing'}  ({proof.how})")
            if proof.problem:
                print(f"     {proof.problem}")
        print(f"taken back by: shimbench deploy --to {folder} --undo")
    return 0 if good else 1


def _undo(folder: Path, options: argparse.Namespace) -> int:
    from workbench.commands.common import confirm, print_json
    from workbench.deploy.folder import pending, undo

    would = pending(folder)
    if not options.json or options.dry_run:
        for name, text in would:
            _say(f"  {text:16} {name}")
    if options.dry_run:
        if options.json:
            print_json(
                {"folder": str(folder), "restored": [name for name, _ in would], "foreign": [], "ok": True}
            )
        return 0
    if would and not options.yes:
        confirm(f"change {folder} back?")
    undone = undo(folder)
    if options.json:
        ok = not undone.foreign
        print_json({"folder": str(folder), "restored": undone.restored, "foreign": undone.foreign, "ok": ok})
    for name in undone.foreign:
        _say(
            f"{folder / name} was changed by somebody else since: left as it is. Move it away and undo again"
        )
    return 1 if undone.foreign else 0


def _show(plan: Plan, changes: list[tuple[str, Entry]], mapped: dict[Path, list[int]]) -> None:
    if plan.leftover:
        _say("an earlier deployment here was interrupted; this finishes it")
    for path in plan.made:
        if not Path(path).exists():
            _say(f"  make     {path}/")
    for what, entry in changes:
        content = entry.before if entry.retired else entry.after
        text = f" -> {content.target}" if content.kind == "link" else ""
        text += f"  from {entry.source}" if entry.source and not entry.retired else ""
        text += f"  ({entry.before} is kept)" if what == "replace" else ""
        _say(f"  {what:8} {entry.name}{text}")
        if pids := mapped.get(plan.folder / entry.name):
            _say(f"           mapped by {', '.join(map(str, pids))}, which go on with the old file")
    if not changes:
        _say(f"{plan.folder} is already so")


def _as_json(what: str, entry: Entry) -> dict[str, str]:
    content = entry.before if entry.retired else entry.after
    return {
        "what": what,
        "name": entry.name,
        "kind": content.kind,
        "target": content.target,
        "source": entry.source,
    }


def _proof_json(proof: Proof) -> dict[str, Any]:
    return {
        "how": proof.how,
        "soname": proof.soname,
        "expected": str(proof.expected),
        "mapped": str(proof.mapped) if proof.mapped else None,
        "ok": proof.ok,
        "problem": proof.problem or None,
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
