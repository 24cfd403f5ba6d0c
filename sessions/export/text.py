"""Text in the form of ZLUDA's trace: a line a call, what a call called itself indented below it."""

from __future__ import annotations

from pathlib import Path

from sessions.export.span import Call, Span


def write_text(span: Span, path: Path) -> None:
    """Each thread's calls by themselves, under a line that names it."""
    with path.open("w", encoding="utf-8") as out:
        for each in span.calls_by_thread():
            process = span.processes[each.process]
            out.write(f"# {process.exe} pid {process.pid} thread {each.thread}\n")
            out.writelines(f"{'    ' * call.row.nesting}{line_of(call)}\n" for call in each.calls)


def line_of(call: Call) -> str:
    """`cuDeviceGetCount(count: 1) -> CUDA_SUCCESS`: for a pointer what was written, where it is known."""
    outputs = call.outputs
    given = ", ".join(
        outputs.get(name, text) if name.isdigit() else f"{name}: {outputs.get(name, text)}"
        for name, text in call.arguments.items()
    )
    result = f" -> {call.decoded.result}" if call.decoded.result else ""
    return f"{call.decoded.name}({given}){result}"
