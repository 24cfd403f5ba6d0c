"""Two devices have one PCI address, or a device has none: Ollama tells devices apart by it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from workbench.diagnosis.calls import Call
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage


def find(facts: Facts) -> Iterator[Diagnosis]:
    yield from _doubled(facts)
    yield from _missing(facts)


def _ids(facts: Facts) -> dict[int, dict[str, dict[int, Call]]]:
    """process -> PCI address -> device -> the call that told it."""
    found: dict[int, dict[str, dict[int, Call]]] = defaultdict(lambda: defaultdict(dict))
    for call in facts.of("cuDeviceGetPCIBusId"):
        text = facts.text_of(call, 0)
        if call.result == 0 and text:
            device = facts.session.calls.row(call.row).args[2] & 0xFFFFFFFF
            found[call.process][text.lower()].setdefault(device, call)
    parts: dict[tuple[int, int], dict[str, tuple[Call, int]]] = defaultdict(dict)
    for name in ("pci_domain", "pci_bus", "pci_device"):
        for call, device, value in facts.attribute(name):
            parts[call.process, device][name] = call, value
    for (process, device), known in parts.items():
        if len(known) == 3:
            domain, bus, slot = (known[name][1] for name in ("pci_domain", "pci_bus", "pci_device"))
            found[process][f"{domain:04x}:{bus:02x}:{slot:02x}.0"].setdefault(device, known["pci_bus"][0])
    return found


def _doubled(facts: Facts) -> Iterator[Diagnosis]:
    for process, ids in _ids(facts).items():
        for address, devices in ids.items():
            if len(devices) < 2:
                continue
            told = [s for s in facts.lines("duplicate") if process in (s.process, -1) or s.process >= 0]
            yield Diagnosis(
                rule="pci-id-doubled",
                what="devices of one PCI address are taken for one",
                cause=f"devices {', '.join(map(str, sorted(devices)))} all say that they are at {address}",
                fix="give each device an address of its own in cuDeviceGetPCIBusId and attributes 33, 34, 50",
                certainty="proved",
                stage=Stage.DEVICES,
                evidence=[facts.call_evidence(call.row) for call in devices.values()]
                + [facts.line_evidence(said) for said in told[:1]],
                process=process,
                stops=False,
                by_ollama=True,
                independent=True,
            )


def _missing(facts: Facts) -> Iterator[Diagnosis]:
    seen: set[int] = set()
    for call in facts.of("cuDeviceGetPCIBusId"):
        empty = call.result == 0 and facts.text_of(call, 0) == ""
        if call.process in seen or (not call.result and not empty):
            continue
        told = facts.error_evidence([call.result], call.process) if call.result else []
        # Where the device is used all the same, nobody missed its address.
        if not told and facts.recovered(call.process, call.row):
            continue
        seen.add(call.process)
        how = "succeeded and wrote an empty text" if empty else f"returned {facts.result(call)}"
        yield Diagnosis(
            rule="pci-id-missing",
            what="a device has no PCI address",
            cause=f"cuDeviceGetPCIBusId {how}",
            fix="write an address such as 0000:01:00.0, the same that attributes 33, 34 and 50 say",
            certainty="proved" if told else "likely",
            by_ollama=True,
            stage=Stage.DEVICES,
            evidence=[facts.call_evidence(call.row), *told],
            process=call.process,
            stops=bool(told),
        )
