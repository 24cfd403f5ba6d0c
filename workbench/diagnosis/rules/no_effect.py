"""A call succeeds without effect: it hands out nothing, the same thing twice, or runs no kernel."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.calls import Call
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Certainty, Diagnosis, Evidence, Stage
from workbench.diagnosis.waits import KERNELS

#: What is handed out, through which argument.
_HANDLES = {
    "cuDevicePrimaryCtxRetain": 0,
    "cuCtxCreate_v2": 0,
    "cuCtxCreate_v3": 0,
    "cuCtxCreate_v4": 0,
    "cuMemAlloc_v2": 0,
    "cuMemAllocAsync": 0,
    "cuMemHostAlloc": 0,
    "cuMemAddressReserve": 0,
    "cuStreamCreate": 0,
    "cuEventCreate": 0,
    "cuModuleLoadData": 0,
    "cuLibraryLoadData": 0,
    "cuModuleGetFunction": 0,
    "cuLibraryGetKernel": 0,
    "cuKernelGetFunction": 0,
    "cuGraphInstantiateWithFlags": 0,
}
INVALID_DEVICE = 101
WAITS, PROMPT = 3, 0.25
"""So many prompt waits for kernels at least, and that share of all: others may be held up by neighbours."""
_PROVED = ("nothing", "wrong", "copies")
_NO_SIZE = ("cuMemAlloc_v2", "cuMemAllocAsync", "cuMemHostAlloc")


def find(facts: Facts) -> Iterator[Diagnosis]:
    yield from _nothing(facts)
    yield from _no_multiprocessors(facts)
    yield from _one_for_two(facts)
    yield from _idle_kernels(facts)


def _nothing(facts: Facts) -> Iterator[Diagnosis]:
    seen: set[tuple[int, str]] = set()
    for name, index in _HANDLES.items():
        for call in facts.of(name):
            if call.result or facts.out_of(call, index) != 0 or (call.process, name) in seen:
                continue
            if name in _NO_SIZE and facts.session.calls.row(call.row).args[1] == 0:
                continue  # nothing was asked for
            seen.add((call.process, name))
            yield _diagnosis(facts, call, f"{name} succeeded and handed out a null handle or address", name)


def _no_multiprocessors(facts: Facts) -> Iterator[Diagnosis]:
    for call, device, value in facts.attribute("multiprocessors"):
        if value == 0:
            cause = f"cuDeviceGetAttribute succeeded and said that device {device} has 0 multiprocessors"
            yield _diagnosis(facts, call, cause, "cuDeviceGetAttribute")
            return


def _one_for_two(facts: Facts) -> Iterator[Diagnosis]:
    """Two ordinals, one device: whatever is told of it is told twice."""
    given: dict[tuple[int, int], tuple[int, Call]] = {}
    for call in facts.of("cuDeviceGet"):
        device, ordinal = facts.out_of(call, 0), facts.session.calls.row(call.row).args[1] & 0xFFFFFFFF
        if call.result or device is None:
            continue
        first, earlier = given.setdefault((call.process, device), (ordinal, call))
        if first != ordinal:
            cause = f"cuDeviceGet gave device {device} for ordinal {first} and for ordinal {ordinal}"
            found = _diagnosis(facts, call, cause, "cuDeviceGet")
            found.what = "cuDeviceGet gives out one device for two ordinals"
            found.fix = "give each ordinal a device of its own, or count fewer in cuDeviceGetCount"
            told = facts.error_evidence([INVALID_DEVICE], call.process)
            found.evidence = [facts.call_evidence(earlier.row), *found.evidence, *told]
            found.stops = bool(told)
            yield found
            return


def _idle_kernels(facts: Facts) -> Iterator[Diagnosis]:
    """Kernels that are launched with success and do nothing, of whatever make the shim is."""
    if facts.mode.mode == "not-executed":
        return  # its forwarder says so itself
    tried = next((e for e in reversed(facts.events("kernel-probe"))), None)
    outcome = str(tried.fields.get("outcome")) if tried is not None else ""
    prompt = [(index, w) for index, w in facts.waited.items() if w.prompt >= max(WAITS, PROMPT * w.waits)]
    other = [e for e in facts.events("exercise") if e.fields.get("same") is False]
    if outcome == "computed" or not (prompt or outcome in _PROVED or (other and facts.launched)):
        return
    evidence: list[Evidence] = []
    if tried is not None and outcome in _PROVED:
        evidence.append(Evidence(str(tried.fields.get("text"))))
    for index, waited in prompt[:1]:
        text = (
            f"{waited.prompt} of {waited.waits} waits for {KERNELS} kernels or more ended within 1 us, "
            f"at most 3 us after the last was launched: {facts.text(waited.first_prompt)}"
        )
        evidence.append(Evidence(text, call=waited.first_prompt))
        launch = facts.launched.get(index)
        evidence += [facts.call_evidence(launch)] if launch is not None else []
    evidence += [
        Evidence(str(e.fields.get("expectation"))) for e in other[-1:] if e.fields.get("expectation")
    ]
    causes = {
        "nothing": "a kernel of ours, launched and waited for with success, wrote nothing",
        "wrong": "a kernel of ours wrote wrong numbers",
        "copies": "what is copied to the device does not come back from it",
    }
    certainty: Certainty
    if outcome in _PROVED:
        cause, certainty = causes[outcome], "proved"
    elif prompt:
        cause, certainty = "waits for kernels end sooner than any device could have run them", "likely"
    else:
        cause, certainty = "its kernels succeed, and its tokens are not the CPU backend's", "possible"
    copies = outcome == "copies"
    yield Diagnosis(
        rule="success-without-effect",
        what="copies succeed and lose what they copy"
        if copies
        else "kernels are launched with success and do nothing"
        if outcome == "nothing" or (prompt and outcome != "wrong")
        else "kernels are launched with success and compute something else than they should",
        cause=cause,
        fix="have the copies go where the device's memory lies"
        if copies
        else "have each launch run its kernel, and each wait end when it has"
        + ("" if outcome in _PROVED else "; `shimbench run --top probe` tries a kernel of ours"),
        certainty=certainty,
        stage=Stage.WORK,
        evidence=evidence,
        process=prompt[0][0] if prompt else -1,
        stops=False,
        independent=True,
    )


def _diagnosis(facts: Facts, call: Call, cause: str, name: str) -> Diagnosis:
    return Diagnosis(
        rule="success-without-effect",
        what=f"{name} says success and does nothing",
        cause=cause,
        fix=f"do what {name} is for, or return CUDA_ERROR_NOT_SUPPORTED",
        certainty="proved",
        stage=Stage.DEVICES if name.startswith("cuDevice") else Stage.CONTEXT,
        evidence=[facts.call_evidence(call.row)],
        process=call.process,
        stops=False,
        independent=True,
    )
