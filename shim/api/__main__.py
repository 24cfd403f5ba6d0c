"""python -m shim.api build --out DIR | check --library build/lib/libcuda.so.1 [--nvml FILE]"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from shim.api.annotate import AnnotationError
from shim.api.build import build
from shim.api.check import disagreements, exported_names
from shim.api.headers import HeaderError, include_directories
from shim.api.model import load_model


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m shim.api", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build_parser = commands.add_parser("build", help="make the model and what is generated from it")
    build_parser.add_argument("--out", type=Path, required=True)
    build_parser.add_argument("--compiler", default="cc")
    commands.add_parser(
        "include-directories",
        help="the include path of the generated headers, as a CMake list",
    )
    check_parser = commands.add_parser("check", help="fail when exports and model disagree")
    check_parser.add_argument("--library", type=Path, help="a libcuda.so.1")
    check_parser.add_argument("--nvml", type=Path, help="a libnvidia-ml.so.1")
    check_parser.add_argument("--model", type=Path, default=Path("build/api/model.json"))
    options = parser.parse_args()
    try:
        if options.command == "include-directories":
            print(";".join(map(str, include_directories())))
            return 0
        if options.command == "check":
            return check(options)
        started = time.monotonic()
        model = build(options.out, options.compiler)
        seconds = time.monotonic() - started
        print(
            f"api model {model['hash']}: {len(model['functions'])} functions in {seconds:.1f} s",
            file=sys.stderr,
        )
        return 0
    except (AnnotationError, HeaderError, OSError, ValueError) as error:
        print(f"shim.api: {error}", file=sys.stderr)
        return 1


def check(options: argparse.Namespace) -> int:
    """Print every disagreement; 1 when there is one."""
    model = load_model(options.model)
    found = []
    for api, library in (("cuda", options.library), ("nvml", options.nvml)):
        if library is not None:
            found += [f"{library}: {text}" for text in disagreements(model, api, exported_names(library))]
    print("\n".join(found) or "exports and model agree", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
