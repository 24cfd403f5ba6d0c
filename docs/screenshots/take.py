"""Take a picture of the workbench on a recorded session, as the README's are.

    python docs/screenshots/take.py SESSION OUT.svg [--size 120x40] [KEY ...]

Keys are Textual's names, pressed one after the other once all of the session is on the screen; `@443`,
`7.1s` or `run:2` travels to that moment instead.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from workbench.app import ShimbenchApp
from workbench.commands.common import take_session

_MOMENTS = ("@", "run:", "log:")


async def take(session: str, out: Path, size: tuple[int, int], keys: list[str]) -> None:
    """Press the keys on a session and write what is on the screen then."""
    found, _ = take_session([session])
    app = ShimbenchApp(None, found)
    async with app.run_test(size=size) as pilot:

        async def settled() -> None:
            await pilot.pause()
            while not app.settled:
                await pilot.pause(0.05)
            await pilot.pause()

        await settled()
        for key in keys:
            if key.startswith(_MOMENTS) or (len(key) > 1 and key[0].isdigit()):
                app.travel.to_name(key)
            else:
                await pilot.press(key)
            await settled()
        out.write_text(app.export_screenshot(title="shimbench"))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("session")
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", default="120x40", metavar="COLUMNSxROWS")
    parser.add_argument("keys", nargs="*", metavar="KEY")
    options = parser.parse_intermixed_args()
    columns, rows = map(int, options.size.split("x"))
    asyncio.run(take(options.session, options.out, (columns, rows), options.keys))


if __name__ == "__main__":
    main()
