"""Devices: the built-in one, and what may be configured of it at the host."""

from __future__ import annotations

from collections.abc import Callable

Answers = Callable[..., list[str]]

DESCRIBE = """
    assert cuda.cuInit(0) == 0
    text, size, uuid, value = create_string_buffer(100), c_size_t(), create_string_buffer(16), c_int()
    def attribute(number):
        assert cuda.cuDeviceGetAttribute(byref(value), number, 0) == 0
        return value.value
    cuda.cuDeviceGetName(text, 100, 0); print(text.value.decode())
    cuda.cuDeviceTotalMem_v2(byref(size), 0); print(size.value)
    cuda.cuDeviceGetPCIBusId(text, 100, 0); print(text.value.decode())
    print(attribute(75), attribute(76), attribute(33), attribute(34), attribute(50))
    find = cuda.cuDeviceGetByPCIBusId
    print(find(byref(value), text), find(byref(value), b"0000:7f:1f.0"))
"""

#: What cudart 13.0 asks for, in its order (facts/cudart-bootstrap.md, section 2).
ASKED = """75 76 40 16 18 19 21 77 22 23 73 74 70 71 72 45 46 24 25 26 47 48 49 52 42 43 27 28 29 53 54 55 56
57 58 59 60 61 62 63 64 65 66 67 68 31 32 33 34 50 35 41 37 38 108 39 30 51 8 97 81 12 82 10 11 1 2 3 4 5 6 7
9 14 78 79 80 83 84 85 86 88 89 90 91 95 100 101 106 109 111 99 112 113 114 115 116 117 118 119 120 121 125
129 130 131 133 134 139 140 143"""


def test_the_built_in_device(answers: Answers, shim_host: dict[str, str]) -> None:
    lines = answers(DESCRIBE, shim_host)
    assert lines == ["shimbench software GPU", str(8 << 30), "0000:00:05.0", "8 0 0 5 0", "0 101"]


def test_the_device_is_what_the_hosts_environment_says(
    answers: Answers, start_shim_host: Callable[..., dict[str, str]]
) -> None:
    host = start_shim_host(
        "--name", "another", "--memory", "512MiB", "--pci", "0001:0a:1f.0", "--compute-capability", "7.5"
    )
    lines = answers(DESCRIBE, host)
    assert lines == ["another", str(512 << 20), "0001:0a:1f.0", "7 5 10 31 1", "0 101"]


def test_every_attribute_the_runtime_asks_for_is_answered(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = f"""
        assert cuda.cuInit(0) == 0
        value = c_int()
        print([n for n in {[int(n) for n in ASKED.split()]} if cuda.cuDeviceGetAttribute(byref(value), n, 0)])
        print(cuda.cuDeviceGetAttribute(byref(value), 0, 0), cuda.cuDeviceGetAttribute(byref(value), 9999, 0),
              cuda.cuDeviceGetAttribute(byref(value), 16, 1), cuda.cuDeviceGetAttribute(None, 16, 0))
    """
    assert answers(script, shim_host) == ["[]", "1 1 101 1"]
