"""cuInit returns an error, which the runtime passes on as it is. Our shim says why: its forwarder."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Rule, Stage


def _of_the_host(reason: str) -> tuple[Rule, str, str]:
    """What our shim's words come to: the rule, what is wrong with the host, what would help."""
    if "protocol" in reason or "rebuild" in reason:
        fix = "rebuild shim and host from the same sources (shimbench build)"
        return "host-stale", "shim and host are of different builds", fix
    if "the most it serves" in reason:
        fix = (
            'have it serve more ([host] run = "shimbench-host --max-clients 128"), or end processes that '
            "hold a context and need none"
        )
        return "host-unreachable", "the host serves no more clients", fix
    fix = "start the forwarder (shimbench host), or have SHIMBENCH_HOST name its socket"
    return "host-unreachable", "the shim has no host", fix


def find(facts: Facts) -> Iterator[Diagnosis]:
    for call in facts.of("cuInit"):
        if call.result == 0 or facts.bootstrapped_after(call.process, call.row):
            continue
        ours = [said for said in facts.said if said.kind == "shim" and said.process == call.process]
        evidence = [facts.call_evidence(call.row)]
        if ours:
            evidence += [facts.line_evidence(said) for said in ours[:1]]
            reason = ours[0].subject
            rule, what, fix = _of_the_host(reason)
            yield Diagnosis(
                rule=rule,
                what=f"cuInit fails with {facts.result(call)}: {what}",
                cause=reason,
                fix=fix,
                certainty="proved",
                stage=Stage.INIT,
                evidence=evidence,
                process=call.process,
            )
            continue
        evidence += facts.error_evidence([call.result], call.process)
        yield Diagnosis(
            rule="init-fails",
            what=f"cuInit fails with {facts.result(call)}, and so does every function of the runtime",
            cause=f"the shim's cuInit returned {facts.result(call)} ({call.result})",
            fix="find out in the shim's cuInit what it misses",
            certainty="proved",
            stage=Stage.INIT,
            evidence=evidence,
            process=call.process,
        )
