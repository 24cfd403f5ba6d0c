"""Run a systemd unit, ollama.service unless told, under the shim, and record it.

    shimbench systemd install     a drop-in with the environment, a restart, and recording begins
    shimbench systemd status      what is installed, and what was recorded so far
    shimbench systemd remove      the unit exactly as it was, the session sealed

Everything that will change is shown first. The unit's processes are recorded whatever user they run as, and
its journal in full length. Needs root, but with --user, which means your own manager's units.

--json prints one object: unit, installed, drop_in, session, recording, active, processes, calls, lost,
log_lines; for install also changes and problems, for remove as_it_was.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.deploy.service import Installation
    from workbench.deploy.unit import Scope

ACTIONS = ("install", "status", "remove", "record")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from workbench.commands.common import add_directory, add_json

    parser.usage = (
        "shimbench systemd install|status|remove [DIR] [--unit ollama.service] [--user]\n"
        "                         [--session PATH] [--dry-run] [--yes] [--json]"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("action", metavar="install|status|remove", help="what to do with the unit")
    add_directory(parser)
    parser.add_argument("--unit", default="ollama.service", metavar="UNIT", help="instead of ollama.service")
    parser.add_argument("--user", action="store_true", help="a unit of your own manager (systemctl --user)")
    parser.add_argument("--session", type=Path, metavar="PATH", help="where to record; must not exist yet")
    parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    parser.add_argument("--yes", action="store_true", help="don't ask")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from workbench.deploy.unit import Scope
    from workbench.errors import UsageError

    if options.action not in ACTIONS:
        raise UsageError(f"{options.action}: say install, status or remove")
    scope = Scope(options.user)
    if options.action == "record":
        return _record(scope, options.unit)
    if options.action == "status":
        return _status(scope, options)
    if os.geteuid() != 0 and not options.user and not options.dry_run:
        raise UsageError(f"{options.unit} is the system's: sudo shimbench systemd {options.action} ...")
    return _install(scope, options) if options.action == "install" else _remove(scope, options)


def _install(scope: Scope, options: argparse.Namespace) -> int:
    from workbench.commands.common import confirm, print_json
    from workbench.config import load_config
    from workbench.deploy.service import check_running, install, make_installation
    from workbench.errors import UsageError
    from workbench.loop.store import BuildStore
    from workbench.sessions_store import place_of

    config = load_config(options.directory)
    place = place_of(config.directory)
    session: Path = (options.session or place.new_session()).absolute()
    if session.exists():
        raise UsageError(f"--session {session}: there is something already")
    missing = next((path for path in config.shim.libraries.values() if not path.is_file()), None)
    if missing is not None:
        raise UsageError(f"there is no {missing}: shimbench build")
    host = _host_program(config.host.run, config.directory)
    libraries, shim_id = config.shim.libraries, ""
    if not options.dry_run:
        kept = BuildStore(place.store).keep(libraries, host)
        libraries, shim_id, host = kept.libraries, kept.id, kept.host
    plan = make_installation(scope, options.unit, config, session, libraries, shim_id)
    if not options.json or not (options.yes or options.dry_run):
        _show(plan)
    if options.dry_run:
        if options.json:
            print_json(_plan_json(plan))
        return 0
    if not options.yes:
        confirm(f"restart {options.unit} so?")
    session.parent.mkdir(parents=True, exist_ok=True)
    install(plan, libraries, host)
    problems = check_running(plan)
    if options.json:
        print_json({**_plan_json(plan), **_report(scope, options.unit), "problems": problems})
    else:
        print(f"{options.unit} runs under the shim, recorded in {session}")
        print("taken back by: shimbench systemd remove" + _named(options))
    for problem in problems:
        _say(problem)
    return 1 if problems else 0


def _host_program(command: tuple[str, ...] | None, directory: Path) -> Path | None:
    """The forwarder's own program; None when there is no forwarder, or it is a tool of the system."""
    from workbench import native
    from workbench.errors import UsageError
    from workbench.target.command import find_program

    if command is None:
        return None
    own = native.paths().bin / command[0]
    if "/" not in command[0] and own.is_file():
        return own
    found = find_program(command[0], directory, os.environ)
    if found is None:
        raise UsageError(f"[host] run: there is no {command[0]} in {directory} nor on PATH")
    return Path(found)


def _show(plan: Installation) -> None:
    _say(f"  write    {plan.drop_in}")
    for line in plan.text.splitlines():
        _say(f"             {line}")
    _say(f"  copy     {', '.join(plan.manifest['run']['libraries'])} to {plan.state}")
    _say(f"  make     {plan.runtime} for the sockets; user {plan.unit.user} may connect")
    if plan.manifest["host_command"]:
        _say(f"  run      {' '.join(plan.manifest['host_command'])} as user {plan.unit.user}")
    _say(f"  record   in {plan.manifest['session']}")
    _say(f"  {'restart' if plan.unit.active else 'start':8} {plan.unit.name}")
    for warning in plan.unit.warnings:
        _say(f"  note: {warning}")


def _plan_json(plan: Installation) -> dict[str, Any]:
    return {
        "unit": plan.unit.name,
        "drop_in": str(plan.drop_in),
        "session": plan.manifest["session"],
        "changes": {str(plan.drop_in): plan.text, "state": str(plan.state), "runtime": str(plan.runtime)},
        "notes": list(plan.unit.warnings),
    }


def _status(scope: Scope, options: argparse.Namespace) -> int:
    from workbench.commands.common import print_json

    report = _report(scope, options.unit)
    if options.json:
        print_json(report)
    elif not report["installed"]:
        print(f"{options.unit}: {'active' if report['active'] else 'not active'}, under no shim of ours")
    else:
        state = "active" if report["active"] else "not active"
        recording = "recording" if report["recording"] else "the recorder has ended"
        print(f"{options.unit}: {state}, under the shim by {report['drop_in']}")
        counts = f"{report['processes']} processes, {report['calls']} calls, {report['lost']} lost"
        print(f"{recording} in {report['session']}: {counts}, {report['log_lines']} lines")
    return 0


def _report(scope: Scope, unit: str) -> dict[str, Any]:
    from sessions import SessionError, open_session
    from workbench.deploy.service import read_manifest, recorder_of
    from workbench.deploy.unit import read_unit

    manifest = read_manifest(scope, unit)
    report: dict[str, Any] = {
        "unit": unit,
        "installed": manifest is not None,
        "active": read_unit(scope, unit).active,
    }
    if manifest is None:
        return report
    report |= {
        "drop_in": manifest["drop_in"],
        "session": manifest["session"],
        "recording": recorder_of(manifest) is not None,
        "processes": 0,
        "calls": 0,
        "lost": 0,
        "log_lines": 0,
    }
    try:
        session = open_session(Path(manifest["session"]))
    except (SessionError, OSError) as error:
        return {**report, "problem": str(error)}
    traced = sum(process.role == "target" for process in session.processes)
    return {
        **report,
        "processes": traced,
        "calls": len(session.calls),
        "lost": session.lost,
        "log_lines": len(session.log),
    }


def _remove(scope: Scope, options: argparse.Namespace) -> int:
    from workbench.commands.common import confirm, print_json
    from workbench.deploy.service import read_manifest, remove
    from workbench.errors import UsageError

    manifest = read_manifest(scope, options.unit)
    if manifest is None:
        raise UsageError(f"{options.unit} is under no shim of ours")
    if not options.json or not (options.yes or options.dry_run):
        _say(f"  remove   {manifest['drop_in']}")
        for path in reversed(manifest["made"]):
            _say(f"  remove   {path}/")
        _say(f"  {'restart' if manifest['was_active'] else 'stop':8} {options.unit}")
        _say(f"  seal     {manifest['session']}")
    if options.dry_run:
        return 0
    if not options.yes:
        confirm(f"bring {options.unit} back?")
    removed = remove(scope, options.unit)
    if options.json:
        print_json({
            "unit": options.unit,
            "session": manifest["session"],
            "as_it_was": removed.as_it_was,
            "problem": removed.problem or None,
        })  # fmt: skip
    elif removed.as_it_was:
        print(f"{options.unit} is as it was; recorded in {manifest['session']}")
    if removed.problem:
        _say(removed.problem)
    if not removed.as_it_was:
        _say(f"{options.unit} reads otherwise than before: somebody else changed it meanwhile")
    return 0 if removed.as_it_was and not removed.problem else 1


def _record(scope: Scope, unit: str) -> int:
    """What `install` starts; not for people."""
    import asyncio

    from workbench.deploy.recorder import read_plan, record
    from workbench.deploy.service import manifest_path
    from workbench.errors import ShimbenchError

    def tell_ready() -> None:
        print("recording", flush=True)
        os.close(1)
        os.open(os.devnull, os.O_WRONLY)

    try:
        plan = read_plan(manifest_path(scope, unit))
    except (OSError, ValueError) as error:
        raise ShimbenchError(f"{unit} is not installed: {error}") from error
    asyncio.run(record(plan, tell_ready))
    return 0


def _named(options: argparse.Namespace) -> str:
    unit = f" --unit {options.unit}" if options.unit != "ollama.service" else ""
    return unit + (" --user" if options.user else "")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
