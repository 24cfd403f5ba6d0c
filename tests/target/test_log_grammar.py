"""Lines of Ollama and llama.cpp taken apart, without losing a byte of anything."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.target.log_grammar import (
    Level,
    LogLine,
    continues_abort,
    guess_level,
    parse,
    parse_bytes,
    starts_abort,
)

COMPUTE = (
    "time=2026-11-22T17:43:01.008Z level=INFO source=types.go:32 "
    'msg="inference compute" id=0 filter_id=0 library=CUDA compute=8.6 name=CUDA0 '
    'description="FAKE GeForce RTX 3090" pci_id=0000:01:00.0 total="24.0 GiB"'
)


def pieces(line: LogLine) -> list[tuple[str, str]]:
    return [(span.kind, line.text[span.start : span.end]) for span in line.spans if span.kind != "gap"]


def covers(line: LogLine) -> bool:
    """Whether the spans lie edge to edge from the first character to the last."""
    edges = [0, *(span.end for span in line.spans)]
    return [span.start for span in line.spans] == edges[:-1] and edges[-1] == len(line.text)


def test_a_slog_line_gives_its_time_level_source_message_and_fields() -> None:
    line = parse(COMPUTE)
    assert (line.form, line.level, line.source) == ("slog", Level.INFO, "types.go:32")
    assert (line.time, line.message) == ("2026-11-22T17:43:01.008Z", "inference compute")
    assert line.field("library") == "CUDA"
    assert line.field("description") == "FAKE GeForce RTX 3090"
    assert ("key", "pci_id") in pieces(line) and ("value", '"24.0 GiB"') in pieces(line)


def test_quotes_inside_a_value_are_undone_as_go_makes_them() -> None:
    line = parse('time=t level=DEBUG source=a.go:1 msg=x stderr="a \\"b\\"\\n\\u00e9\\x41" n=1')
    assert line.field("stderr") == 'a "b"\néA'
    assert line.field("n") == "1"


@pytest.mark.parametrize(
    ("word", "level"),
    [
        ("DEBUG", Level.DEBUG),
        ("DEBUG-4", Level.TRACE),
        ("TRACE", Level.TRACE),
        ("INFO+2", Level.INFO),
        ("WARN", Level.WARN),
        ("ERROR", Level.ERROR),
        ("ERROR+4", Level.ERROR),
    ],
)
def test_slogs_levels_are_understood_between_their_names_too(word: str, level: Level) -> None:
    assert parse(f"time=t level={word} source=a.go:1 msg=x").level == level


def test_a_slog_line_cut_inside_a_value_keeps_its_rest() -> None:
    line = parse('time=t level=INFO msg=x env="map[A:')
    assert line.form == "slog" and covers(line)
    assert pieces(line)[-1] == ("message", ' env="map[A:')


def test_a_request_tells_its_status_time_and_path() -> None:
    line = parse(
        '[GIN] 2026/11/22 - 17:43:02 | 200 |  1.328565551s |       127.0.0.1 | POST     "/api/generate"'
    )
    assert (line.form, line.level) == ("gin", Level.INFO)
    assert (line.field("status"), line.field("took")) == ("200", "1.328565551s")
    assert (line.field("method"), line.field("path")) == ("POST", "/api/generate")
    assert parse('[GIN] 2026/11/22 - 17:43:02 | 500 | 1s | ::1 | POST "/api/chat"').level == Level.ERROR
    assert parse("[GIN-debug] GET    /api/ps   --> x (5 handlers)").level == Level.DEBUG


def test_an_old_ollama_logs_as_gos_log_package_does() -> None:
    line = parse("2025/03/04 12:33:12 routes.go:1205: INFO server config env=map[]")
    assert (line.form, line.level, line.source) == ("go", Level.INFO, "routes.go:1205")
    assert line.message == "server config env=map[]"
    assert parse("2025/03/04 12:33:12 images.go:808: total blobs: 0").message == "total blobs: 0"


def test_a_ggml_line_names_its_function_and_what_it_sets() -> None:
    line = parse("load_tensors:        CUDA0 model buffer size =     2.75 MiB")
    assert (line.form, line.source) == ("ggml", "load_tensors")
    assert line.fields == (("CUDA0 model buffer size", "2.75 MiB"),)
    line = parse("slot print_timing: id  0 | task -1 |        eval time =      16.14 ms /     4 tokens")
    assert line.source == "print_timing"
    assert line.fields[:2] == (("id", "0"), ("task", "-1"))
    assert (
        parse("llama_model_loader: loaded meta data with 22 key-value pairs").source == "llama_model_loader"
    )


def test_a_llama_server_line_with_its_prefix_says_time_and_level() -> None:
    line = parse("0.00.123.456 W srv  load_model: the chat template is missing")
    assert (line.time, line.level, line.source) == ("0.00.123.456", Level.WARN, "load_model")


def test_the_98_byte_line_is_an_error() -> None:
    line = parse(
        "ggml_cuda_init: failed to initialize CUDA: API call is not supported in the installed CUDA driver"
    )
    assert (line.source, line.level) == ("ggml_cuda_init", Level.ERROR)


def test_lines_in_no_known_form_stay_whole() -> None:
    for text in ("", " ", "Hello<|im_end|>", "a b c: d", "http://x/y", "time=now", "\x1b[31mred\x1b[0m"):
        line = parse(text)
        assert line.form == "plain" and line.message == text and covers(line)


def test_a_cuda_error_begins_a_report_and_its_location_and_stack_go_on_with_it() -> None:
    report = [
        "CUDA error: an illegal memory access was encountered",
        "  current device: 0, in function ggml_backend_cuda_synchronize at /src/ggml-cuda.cu:2905",
        "  cudaStreamSynchronize(cuda_ctx->stream())",
        "/src/ggml/src/ggml-cuda/ggml-cuda.cu:98: CUDA error",
        "/usr/local/lib/ollama/libggml-base.so.0(+0x18298) [0x7f6a4c3a0298]",
        "/usr/local/lib/ollama/libggml-base.so.0(ggml_abort+0x152) [0x7f6a4c3a0862]",
        "[New LWP 4123]",
        "#3  0x00007f12 in ggml_abort () from /usr/lib/libggml-base.so",
    ]
    assert starts_abort(report[0])
    assert all(continues_abort(line) for line in report[1:])
    assert not continues_abort("srv  update_slots: all slots are idle")
    assert not continues_abort(COMPUTE)
    assert not starts_abort(COMPUTE)


def test_a_go_panic_is_a_report_with_its_goroutines() -> None:
    assert starts_abort("panic: runtime error: invalid memory address or nil pointer dereference")
    assert starts_abort("SIGSEGV: segmentation violation")
    for line in (
        "[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x4f]",
        "goroutine 1 [running]:",
        "main.main()",
        "\t/src/main.go:12 +0x1d",
        "PC=0x7f0 m=0 sigcode=1 addr=0x0",
        "created by main.f in goroutine 1",
        "",
    ):
        assert continues_abort(line)


ALPHABET = st.sampled_from(list('time=level source:msg"\\ [GIN]|-/0123456789.\t\n\x1b\x00é€😀_<>()ETWI'))
HEADS = st.sampled_from(
    [
        "",
        "time=t level=INFO ",
        "time=t level=DEBUG-4 source=a.go:1 msg=",
        "[GIN] 2026/11/22 - 17:43:02 | 200 |",
        "[GIN-debug] ",
        "2025/03/04 12:33:12 ",
        "0.00.123.456 I ",
        "slot print: id 0 | ",
        "srv  x: ",
        "load: ",
        "CUDA error: ",
    ]
)


@settings(max_examples=400, deadline=None)
@given(HEADS, st.text(ALPHABET, max_size=200))
def test_no_character_is_lost_or_changed(head: str, rest: str) -> None:
    line = parse(head + rest)
    assert line.text == head + rest
    assert covers(line)


@settings(max_examples=300, deadline=None)
@given(HEADS, st.binary(max_size=200))
def test_no_byte_is_lost_or_changed(head: str, rest: bytes) -> None:
    data = head.encode() + rest
    line = parse_bytes(data)
    text = "".join(line.text[span.start : span.end] for span in line.spans)
    assert text.encode("utf-8", "surrogateescape") == data
    guess_level(line.text)


HOSTILE = [
    'time=t level=INFO msg="' + "\\",
    "time=t level=INFO " + "a=",
    "time=t level=INFO a" + "=",
    "time=t level=INFO" + ' "',
    "srv" + " ",
    "srv  f: a" + " ",
    "srv  f: a =" + " b =",
    "x_y: " + "a ",
    "slot f: " + "id 0 | ",
    "[GIN] 2026/11/22 - 17:43:02 |" + " ",
    "[GIN] 2026/11/22 - 17:43:02 | 200 |" + "|",
    "0.00.000.000 I " + "a::",
    "/" + "x",
    "a(" + "(",
    "error" * 3,
    "2025/03/04 12:33:12 " + "a.go:",
]


@pytest.mark.parametrize("seed", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_line_of_a_megabyte_is_parsed_in_one_go(seed: str) -> None:
    """Anything that grows with the square of the length would take hours for each of these."""
    text = seed[:-1] + seed[-4:] * (1 << 18)
    assert covers(parse(text))
    starts_abort(text)
    continues_abort(text)
