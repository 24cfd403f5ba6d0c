"""The device pane: the device, and what each process made of it."""

from __future__ import annotations

from pathlib import Path

from conftest import shown
from scenario import write_working_run

from sessions import open_session
from workbench.app import ShimbenchApp


async def test_how_busy_the_forwarder_calls_its_device_is_a_bar(tmp_path: Path) -> None:
    builder = write_working_run(tmp_path / "session")
    device = {"name": "a GPU", "memory": 8 << 30, "executes_kernels": True}
    builder.event("host", device=device, memory_used=0, busy={"kernels": 60, "memory": 95}, clients=[])
    builder.finish()
    app = ShimbenchApp(None, open_session(tmp_path / "session"))
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot)
        app.show_pane("device")
        await pilot.pause()
        pane = app.content.device
        lines = [pane.line_text(number).strip() for number in range(pane.count())]
        assert f"busy   {'█' * 18}{'░' * 12} 60 % kernels, 95 % with copies" in lines
