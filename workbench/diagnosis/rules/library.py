"""libcuda.so.1, or what loads it, is not found or not loadable."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sessions.items import Pseudo, string_of
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage
from workbench.diagnosis.saying import Said

_STAMP = re.compile(r"^(?:\d+\.){3}\d+ [A-Z] ")
"""llama.cpp's time and level: the same of several processes is one thing all the same."""


def find(facts: Facts) -> Iterator[Diagnosis]:
    spoken: set[int] = set()
    # dlsym's error, which Python's ctypes prints, reads like that of a library that links against the name.
    looked_up = {row.name for row in facts.coverage for asked in row.asked if asked.how == "dlsym"}
    for call in facts.calls:
        if call.function != Pseudo.LOAD or not call.returned or call.result == 0:
            continue
        spoken.add(call.process)
        items = facts.session.calls.payload(call.row)
        why = string_of(items, 1) or "the loader gave no reason"
        symbol = why.rpartition("undefined symbol: ")[2].split()[0] if "undefined symbol: " in why else ""
        fix = f"define {symbol}, or link the library that has it" if symbol else "build a library that loads"
        yield Diagnosis(
            rule="shim-not-loadable",
            what="the shim's libcuda.so.1 does not load",
            cause=why,
            fix=f"{fix}; -Wl,-z,defs makes the linker tell",
            certainty="proved",
            stage=Stage.LOAD,
            evidence=[facts.call_evidence(call.row)],
            process=call.process,
        )
    for said in facts.said:
        if said.kind == "not-loaded" and said.process not in spoken:
            driver = said.subject.startswith("libcuda.so")
            yield Diagnosis(
                rule="library-not-found",
                what=f"{said.subject} is not found",
                cause=f"the loader finds no {said.subject}: {_around(said)}",
                fix="give the shim the soname libcuda.so.1 under [shim.libraries]"
                if driver
                else f"have {said.subject} where the loader looks (LD_LIBRARY_PATH of the target)",
                certainty="proved",
                stage=Stage.LOAD,
                evidence=[facts.line_evidence(said)],
                process=said.process,
            )
        elif said.kind == "symbol" and said.process not in spoken and said.subject not in looked_up:
            yield Diagnosis(
                rule="link-time-symbol-missing",
                what=f"a library of the target is not loaded: it links against {said.subject}",
                cause=f"no library exports {said.subject}: {_STAMP.sub('', said.text)}",
                fix=f"export {said.subject} from the shim",
                certainty="proved",
                stage=Stage.LOAD,
                evidence=[facts.line_evidence(said)],
                process=said.process,
            )
    for process in facts.processes:
        if process.index in spoken or facts.lines("not-loaded", process.index):
            continue
        opened = facts.opened("libcuda.so", process.index)
        # A process that made calls has a driver, however it came by it.
        if not opened or any(call.result != -1 for call, _ in opened) or process.index in facts.last_rows:
            continue
        call, name = opened[0]
        yield Diagnosis(
            rule="library-not-found",
            what=f"{name} is not found",
            cause=f"{facts.library_of(call) or 'the program'} asked the loader for {name} and got nothing",
            fix='name the shim under [shim.libraries] as "libcuda.so.1"',
            certainty="likely",
            stage=Stage.LOAD,
            evidence=[facts.call_evidence(call.row)],
            process=process.index,
        )


def _around(said: Said, room: int = 160) -> str:
    """What stands before and behind the library's name; a server quotes whole outputs in one line."""
    text = _STAMP.sub("", said.text)
    place = text.find(said.subject)
    if len(text) <= room or place < 0:
        return text
    start = max(0, place - room // 2)
    return "… " + text[start : start + room].strip() + " …"
