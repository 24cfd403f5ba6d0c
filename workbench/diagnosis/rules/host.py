"""The forwarder ended while the target ran, or never listened."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

_ASKED_TO_END = (None, 2, 15)


def find(facts: Facts) -> Iterator[Diagnosis]:
    yield from _ended(facts)
    yield from _never_came(facts)


def _never_came(facts: Facts) -> Iterator[Diagnosis]:
    """The workbench tells that the forwarder of [host] did not start."""
    if any(process.role == "host" for process in facts.session.processes):
        return
    told = [
        str(event.fields.get("detail") or "it did not start")
        for event in facts.session.events
        if event.kind == "host" and event.fields.get("state") == "failed"
    ]
    # Where its program is not found, nothing is started at all.
    problems = [event.fields.get("text") for event in facts.session.events if event.kind == "problem"]
    told += [str(text) for text in problems if str(text).startswith("[host] run:")]
    if told:
        yield Diagnosis(
            rule="host-not-started",
            what="there is no forwarder",
            cause=told[-1],
            fix="correct [host] run in shimbench.toml",
            certainty="proved",
            stage=Stage.INIT,
            evidence=[Evidence(f"host: {told[-1]}")],
        )


def _ended(facts: Facts) -> Iterator[Diagnosis]:
    hosts = [process for process in facts.session.processes if process.role == "host"]
    if not hosts or hosts[-1].ended_ns is None:
        return
    host, ended = hosts[-1], hosts[-1].ended_ns
    if host.signal in _ASKED_TO_END and not (host.signal is None and host.exit_code):
        return
    if not any(target.ended_ns is None or target.ended_ns >= ended for target in facts.processes):
        return
    end = f"signal {host.signal}" if host.signal else f"exit status {host.exit_code}"
    after = [c for c in facts.failed if c.time >= ended and c.name != "cuGetExportTable"]
    said = [
        Evidence(f"host: {event.fields.get('detail', 'failed')}")
        for event in facts.session.events
        if event.kind == "host" and event.fields.get("state") == "failed"
    ]
    lines = _last_words(facts, host.index)
    yield Diagnosis(
        rule="host-died",
        what="the forwarder ended before the target did",
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
