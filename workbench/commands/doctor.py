"""Check what shimbench needs here, and say what to do: compilers, headers, Ollama, the kernel's limits,
the places where sessions and builds are kept.

Each line is ok, a warning (it works, with less) or a problem; the exit status is 1 when there is a
problem. --json prints one list of {what, state, text, advice}.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from workbench.commands.common import add_directory

    add_directory(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON list")


def run(options: argparse.Namespace) -> int:
    from workbench.doctor import State, examine
    from workbench.errors import UsageError

    if not options.directory.is_dir():
        raise UsageError(f"{options.directory} is not a directory")
    findings = []
    for finding in examine(options.directory, os.environ):
        findings.append(finding)
        if not options.json:
            print(f"{finding.state:8} {finding.what}: {finding.text}", flush=True)
            if finding.advice:
                print(f"{'':8} -> {finding.advice}")
    problems = sum(finding.state is State.PROBLEM for finding in findings)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        warnings = sum(finding.state is State.WARNING for finding in findings)
        print(f"{problems} problems, {warnings} warnings, {len(findings)} things looked at")
    return 1 if problems else 0
