"""The device's compute capability is none that the library was compiled for."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage
from workbench.diagnosis.saying import Said


def find(facts: Facts) -> Iterator[Diagnosis]:
    spoken = False
    for said in facts.lines("archs"):
        capability, _, known = said.subject.partition(" ")
        yield _diagnosis(facts, int(capability), known.split(), said, "Ollama leaves the device out")
        spoken = True
    # llama.cpp prints what it was compiled for, and runs PTX of an older architecture where it has some.
    for built in [] if spoken else facts.lines("built-archs"):
        archs = [int(word) for word in built.subject.split(",") if word]
        asked = _capabilities(facts, built.process)
        for number in asked:
            if archs and number < min(archs):
                names = [str(arch) for arch in archs]
                yield _diagnosis(facts, number, names, built, "no kernel of the library can run on it")
                return


def _capabilities(facts: Facts, process: int) -> list[int]:
    found = []
    minors = {(c.process, device): value for c, device, value in facts.attribute("minor")}
    for call, device, major in facts.attribute("major"):
        if call.process == process:
            found.append(major * 100 + minors.get((call.process, device), 0) * 10)
    return list(dict.fromkeys(found))


def _diagnosis(facts: Facts, capability: int, known: list[str], said: Said, what: str) -> Diagnosis:
    asked = [call for call, _, value in facts.attribute("major") if value == capability // 100]
    shown = ", ".join(f"{int(arch) // 100}.{int(arch) // 10 % 10}" for arch in known if arch.isdigit())
    capability_text = f"{capability // 100}.{capability // 10 % 10}"
    evidence: list[Evidence] = [facts.call_evidence(call.row) for call in asked[:1]]
    return Diagnosis(
        rule="capability-not-in-archs",
        what=what,
        cause=f"the device says compute capability {capability_text}; the library is compiled for {shown}",
        fix="answer attributes 75 and 76 with a capability that is in that list",
        certainty="proved",
        by_ollama=True,
        stage=Stage.DEVICES,
        evidence=[*evidence, facts.line_evidence(said)],
        process=asked[0].process if asked else said.process,
    )
