"""python -m shim.api build --out DIR | check --library build/lib/libcuda.so.1 [--nvml FILE]"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from shim.api.annotate import AnnotationError
from shim.api.build import build
from shim.api.headers import HeaderError, include_directories


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m shim.api", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build_parser = commands.add_parser("build", help="make the model and what is generated from it")
    build_parser.add_argument("--out", type=Path, required=True)
    build_parser.add_argument("--compiler", default="cc")
    commands.add_parser(
        "include-directories",
        help="where the newest headers are, as a CMake list; what compiles against them",
    )
    options = parser.parse_args()
    try:
        if options.command == "include-directories":
            print(";".join(map(str, include_directories())))
            return 0
        started = time.monotonic()
        model = build(options.out, options.compiler)
        seconds = time.monotonic() - started
        print(
            f"api model {model['hash']}: {len(model['functions'])} functions in {seconds:.1f} s",
            file=sys.stderr,
        )
        return 0
    except (AnnotationError, HeaderError) as error:
        print(f"shim.api: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
