"""Print what the processes of a session hold on the device, as their calls show it.

--json prints {"session", "run", "memory_total", "memory_used", "executes_kernels", "disagreements",
"processes": [{"pid", "ended", "memory_total", "memory_free", "memory_used", "pinned", "contexts",
"allocations", "streams", "events", "modules", "kernels", "graphs"}]}; sizes in bytes.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from workbench.commands.common import add_json, check_run, print_json, size, take_session, told_as_errors
from workbench.moments import add_at, moment_named, state_at

if TYPE_CHECKING:
    from sessions import Session
    from workbench.views.held import ProcessDevice

_TOP = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("session", nargs="?", metavar="SESSION", help="path, name, @ (newest) or @-1")
    parser.add_argument("--run", type=int, metavar="N", help="of this run instead of the newest")
    parser.add_argument("--all", action="store_true", help="every allocation and kernel")
    add_at(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from workbench.errors import UsageError
    from workbench.views.device import DeviceState

    session, rest = take_session([options.session] if options.session else [])
    if rest:
        raise UsageError(f"there is no session {rest}")
    check_run(session, options.run)
    with told_as_errors():
        if options.at is not None:
            moment = moment_named(session, options.at)
            session, state = moment, state_at(moment, options.run).device
        else:
            state = DeviceState(options.run)
            state.update(session)
    if options.json:
        print_json(
            {
                "session": str(session.path),
                "run": state.run,
                "memory_total": state.memory_total,
                "memory_used": state.memory_used,
                "executes_kernels": state.executes,
                "disagreements": state.disagreements(),
                "processes": [_as_json(session, device) for device in state.processes.values()],
            }
        )
        return 0
    total = size(state.memory_total) if state.memory_total else "unknown"
    print(f"run {state.run}: device memory {total}, held by living processes {size(state.memory_used)}")
    if state.executes is False:
        print("the forwarder's device counts launches; kernels are not executed")
    for text in state.disagreements():
        print(f"host and calls disagree: {text}")
    for device in state.processes.values():
        print("\n".join(_as_lines(session, device, None if options.all else _TOP)))
    return 0


def _as_lines(session: Session, device: ProcessDevice, limit: int | None) -> list[str]:
    process = session.processes[device.process]
    state = " (ended)" if device.ended else ""
    lines = [
        f"process {process.pid}{state} {' '.join(process.argv[:1])}: {size(device.memory_used)} device, "
        f"{size(device.pinned)} pinned, {len(device.contexts)} contexts, {len(device.streams)} streams, "
        f"{len(device.events)} events, {len(device.modules)} modules, {len(device.graphs)} graphs"
    ]
    allocations = device.allocations
    for allocation in allocations[:limit]:
        lines.append(
            f"  0x{allocation.address:012x} {size(allocation.size):>10} {allocation.kind:<8} "
            f"{allocation.owner}, call {allocation.call}"
        )
    if limit is not None and len(allocations) > limit:
        lines.append(f"  ... {len(allocations) - limit} more allocations (--all)")
    kernels = device.kernels
    lines += [f"  {kernel.launches:>8} x {kernel.name}" for kernel in kernels[:limit]]
    if limit is not None and len(kernels) > limit:
        lines.append(f"  ... {len(kernels) - limit} more kernels (--all)")
    for handle, count in device.graph_launches.items():
        lines.append(f"  {count:>8} x graph 0x{handle:x}")
    return lines


def _as_json(session: Session, device: ProcessDevice) -> dict[str, Any]:
    return {
        "pid": session.processes[device.process].pid,
        "ended": device.ended,
        "memory_total": device.memory_total,
        "memory_free": device.memory_free,
        "memory_used": device.memory_used,
        "pinned": device.pinned,
        "contexts": [asdict(context) for context in device.contexts.values()],
        "allocations": [asdict(allocation) for allocation in device.allocations],
        "streams": [asdict(made) for made in device.streams.values()],
        "events": [asdict(made) for made in device.events.values()],
        "modules": [asdict(made) for made in device.modules.values()],
        "kernels": [asdict(kernel) for kernel in device.kernels],
        "graphs": [
            {**asdict(made), "launches": device.graph_launches.get(made.handle, 0)}
            for made in device.graphs.values()
        ],
    }
