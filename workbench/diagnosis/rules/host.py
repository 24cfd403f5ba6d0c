"""The forwarder ended while the target ran, or never listened."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

_ASKED_TO_END = (None, 2, 15)


def find(facts: Facts) -> Iterator[Diagnosis]:
    died = [
        process
        for process in facts.session.processes
        if process.role == "host"
        and process.ended_ns is not None
        and (process.signal not in _ASKED_TO_END or (process.signal is None and process.exit_code))
        and any(t.ended_ns is None or t.ended_ns >= process.ended_ns for t in facts.processes)
    ]
    if not died:
        return
    host = died[-1]
    end = f"signal {host.signal}" if host.signal else f"exit status {host.exit_code}"
    ended = host.ended_ns or 0
    after = [call for call in facts.failed if call.time >= ended]
    said = [
        Evidence(f"host: {event.fields.get('detail', 'failed')}")
        for event in facts.session.events
        if event.kind == "host" and event.fields.get("state") == "failed"
    ]
    lines = _last_words(facts, host.index)
    yield Diagnosis(
        rule="host-died",
        what="the forwarder ended while the target was running",
        cause=f"process {host.pid} ended with {end}",
        fix="see its last lines (shimbench log); it is started anew with the next run",
        certainty="proved",
        stage=Stage.INIT if not facts.of("cuDevicePrimaryCtxRetain") else Stage.WORK,
        evidence=[facts.call_evidence(call.row) for call in after[:1]] + said[-1:] + lines,
    )


def _last_words(facts: Facts, process: int, count: int = 2) -> list[Evidence]:
    log = facts.session.log
    stop = len(log)
    lines = enumerate(log.lines(max(0, stop - 1000), stop), max(0, stop - 1000))
    found = [(number, line) for number, line in lines if line.role == "host" and line.process == process]
    return [
        Evidence(f"log {number + 1}: {line.text.decode('utf-8', 'replace')}", log=number)
        for number, line in found[-count:]
    ]
