"""Each rule stands in the documentation, and is met by a real test under a runtime of each generation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from workbench.diagnosis.model import Rule

ROOT = Path(__file__).parent.parent.parent


def test_each_rule_is_met_under_a_runtime_of_each_generation() -> None:
    # What the tests say of themselves; each is held to it where it runs (tests/real/rules_met.py).
    words = [sys.executable, "-m", "tests.real.rules_met"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_of_the_documentation_has_each_rule_and_no_other() -> None:
    text = (ROOT / "docs" / "diagnosis.md").read_text()
    table = text[text.index("| rule | says |") :].split("\n\n")[0].splitlines()[2:]
    told = [name for row in table for name in re.findall(r"[\w-]+", row.split("|")[1])]
    assert sorted(told) == sorted(get_args(Rule))
