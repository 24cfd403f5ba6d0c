"""The lowest rung: asks a CUDA runtime for the number of devices, as every CUDA program does first.

    python -I -S probe.py ANSWER LIBCUDART

Run as a program, in the target's environment, by a Python that has nothing but its standard library.
ANSWER is the file that gets one JSON object: library, version, code, name, text, count.
"""

import ctypes
import json
import sys
from typing import Any


def main(answer: str, library: str) -> int:
    found: dict[str, Any] = {
        "library": library,
        "version": None,
        "code": None,
        "name": "",
        "text": "",
        "count": 0,
    }
    try:
        runtime = ctypes.CDLL(library)
        version, count = ctypes.c_int(), ctypes.c_int()
        runtime.cudaGetErrorName.restype = ctypes.c_char_p
        runtime.cudaGetErrorString.restype = ctypes.c_char_p
        if runtime.cudaRuntimeGetVersion(ctypes.byref(version)) == 0:
            found["version"] = version.value
        code = runtime.cudaGetDeviceCount(ctypes.byref(count))
        found["code"] = code
        found["count"] = count.value if code == 0 else 0
        found["name"] = runtime.cudaGetErrorName(code).decode()
        found["text"] = runtime.cudaGetErrorString(code).decode()
    except OSError as error:
        found["text"] = str(error)
    with open(answer, "w") as stream:  # noqa: PTH123 - the target's environment is not slowed by pathlib
        json.dump(found, stream)
    version = found["version"]
    shown = f"cudart {version // 1000}.{version % 1000 // 10}: " if version else ""
    if found["code"] == 0:
        print(f"{shown}cudaGetDeviceCount: {found['count']} devices")
    else:
        print(f"{shown}cudaGetDeviceCount: {found['name']} {found['code']}: {found['text']}", file=sys.stderr)
    return 0 if found["code"] == 0 and found["count"] else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
