"""cuInit returns an error, which the runtime passes on as it is. Our shim says why: its forwarder."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage


def find(facts: Facts) -> Iterator[Diagnosis]:
    for call in facts.of("cuInit"):
        if call.result == 0 or facts.bootstrapped_after(call.process, call.row):
            continue
        ours = [said for said in facts.said if said.kind == "shim" and said.process == call.process]
        evidence = [facts.call_evidence(call.row)]
        if ours:
            evidence += [facts.line_evidence(said) for said in ours[:1]]
            reason = ours[0].subject
            stale = "protocol" in reason or "rebuild" in reason
            full = "the most it serves" in reason
            yield Diagnosis(
                rule="host-stale" if stale else "host-unreachable",
                what=f"cuInit fails with {facts.result(call)}: "
                + (
                    "shim and host are of different builds"
                    if stale
                    else "the host serves no more clients"
                    if full
                    else "the shim has no host"
                ),
                cause=reason,
                fix="rebuild shim and host from the same sources (shimbench build)"
                if stale
                else 'have it serve more ([host] run = "shimbench-host --max-clients 128"), or end'
                " processes that hold a context and need none"
                if full
                else "start the forwarder (shimbench host), or have SHIMBENCH_HOST name its socket",
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
