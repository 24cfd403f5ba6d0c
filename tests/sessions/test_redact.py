"""Nothing that was planted in a session is left in its redacted copy, and what must stay stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sessions import Session
from sessions.blobs import Item
from sessions.copy import Window, copy_session
from sessions.format import ItemKind
from sessions.marks import Mark, Marks
from sessions.redact import Redactor, is_secret_name
from sessions.testing import SessionBuilder, out_item, string_item
from workbench import native

SECRETS = {
    "HF_TOKEN": "hf_AbCdEfGhIjKlMnOpQrSt",
    "OPENAI_API_KEY": "sk-proj-1234567890abcdefghij",
    "DB_PASSWORD": "correct horse battery",
    "MY_SECRET": "tr0ub4dor&3",
}
SHAPES = [
    "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    "https://alice:s3cr3tpass@example.com/repo",
    "Authorization: Bearer abcdef0123456789",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "alice.smith@corp-mail.example.com",
]
PLANTED = [
    *SECRETS.values(),
    "ghp_0123456789abcdef",
    "AKIAIOSFODNN7",
    "eyJhbGciOiJIUzI1NiJ9",
    "s3cr3tpass",
    "abcdef0123456789",
    "BEGIN OPENSSH PRIVATE",
    "hunter2plain",
    "plainvalue99",
    "onlyonce77",
    "alice.smith",
    "alicesm",
    "buildbox-17",
    "192.168.17.23",
    "fe80::1c2d:3e4f",
    "2001:db8:85a3::7334",
    "02:42:ac:11:00:02",
    "tell me about my illness",
    "you should see a doctor",
]
LINES = [
    "using /home/alicesm/models/tiny.gguf on buildbox-17",
    "listening on 192.168.17.23:11434 and [fe80::1c2d:3e4f%eth0] and 2001:db8:85a3::7334",
    "mac 02:42:ac:11:00:02",
    'level=DEBUG msg="chat request" prompt="tell me about my illness" images=0',
    '{"content": "you should see a doctor", "stop": true}',
    "password: correct horse battery",
    "db password=tr0ub4dor&3 done",
    "starting: ollama --client-secret onlyonce77 --max-tokens 2048",
    "retry with hunter2plain, then plainvalue99",
    *SHAPES,
]
#: Where nobody looks: line, and what of it must be gone.
CORNERS = [
    ("cc -DAPI_KEY='\"k3yInTheBuild\"' -DTOKEN=t0kenInTheBuild -c shim.c", "k3yInTheBuild t0kenInTheBuild"),
    ("shim.c:3:19: error: expected ';' after \"hf_FromTheSource0123456789\"", "hf_FromTheSource0123456789"),
    ("#1  main (argc=3, argv=0x7ffe) at /export/home/bobrecords/src/main.c:7", "bobrecords"),
    ('#2  login (password=0x55e0 "gdbSawThis1") at login.c:9', "gdbSawThis1"),
    ("shimbench-host: config from /mnt/c/Users/carolw/vgpu.toml", "carolw"),
    (r"opening C:\Users\davew\models\tiny.gguf", "davew"),
    ("proxy http://proxyuser:pr0xyPass@proxy.corp.internal:3128", "proxyuser pr0xyPass proxy.corp.internal"),
    ("GET /v1/models?api_key=inTheQuery77&x=1 HTTP/1.1", "inTheQuery77"),
    ("PUT https://acct.blob.core.windows.net/m?sv=2022&sig=azur3Signature%3D", "azur3Signature"),
    ("Authorization: Basic YWxpY2U6cGxhaW50ZXh0", "YWxpY2U6cGxhaW50ZXh0"),
    ("X-Api-Key: headerKey4711", "headerKey4711"),
    ("Set-Cookie: sessionid=c00kieValue99; HttpOnly", "c00kieValue99"),
    ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI"),
    ("DefaultEndpointsProtocol=https;AccountKey=azur3AccountKey0123==", "azur3AccountKey0123"),
    ("https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/hookSecret0123456789abcd", "hookSecret"),
    ("-----BEGIN RSA PRIVATE KEY-----", "RSA"),
    ("MIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF0qJDr3Q6m1PpNdhRtXQn8lXa0Zp", "MIIEowIBAAKCAQEA"),
    ("q83vEjRWeJCrze8=", "q83vEjRWeJCrze8"),
    ("-----END RSA PRIVATE KEY-----", "RSA"),
    (
        "reached nas.local and build7.lan over ::ffff:10.1.2.3 and 2a02:8108:1:2::5/64",
        "nas.local build7.lan 10.1.2.3 2a02:8108:1:2::5",
    ),
    ("dial tcp 172.20.0.4:11434: connect: connection refused", "172.20.0.4"),
    (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0123456789abcdefghijklmnopqrstuvwxyzABCDE eve@laptop",
        "AAAAC3Nza",
    ),
    ("OLLAMA_AUTH:bearerish0815 OLLAMA_HOST:http://0.0.0.0:11434", "bearerish0815"),
    ("postgres://svc:dbPassw0rd@10.9.8.7/db", "dbPassw0rd 10.9.8.7"),
    ("npm_0123456789abcdefghijABCDEFGHIJ and nvapi-0123456789abcdefXYZ", "npm_0123456789 nvapi-0123456789"),
]
KEPT = [
    "ggml_cuda_init: found 1 CUDA devices (Total VRAM: 8192 MiB):",
    "print_info: BOS token = 1 '<s>'",
    "prompt: 40 tokens, 309.55 ms",
    "token 1: 52 -> 57, 129.02 ms",
    "listening on 127.0.0.1:11434, device 0000:00:05.0, n_tokens = 5, cuda 12.9",
    "CUDA error: out of memory",
    "llama-server --max-tokens 2048 --token-count 7 --no-mmap",
    "model=/root/.ollama/models/blobs/sha256-b4ad4edba2d02cf5aeda30bedbaad6578ee1e7b86e2acd26231108af530d93de",
    "12:34:56 std::bad_alloc at shim.cpp:12:3",
]


@pytest.fixture
def planted(tmp_path: Path) -> Session:
    with SessionBuilder(tmp_path / "s", native.paths().model.read_bytes()) as builder:
        process = builder.process(
            [
                *("/home/alicesm/bin/ollama", "--api-key", SECRETS["OPENAI_API_KEY"]),
                *("--password", "hunter2plain", "--auth-token=plainvalue99", "--max-tokens", "2048"),
            ],
            env={**SECRETS, "HOME": "/home/alicesm", "USER": "alicesm", "HOSTNAME": "buildbox-17"},
            cwd="/home/alicesm",
        )
        builder.event("build", build=1, ok=True, diagnostics=[])
        builder.event(
            "exercise", prompt="tell me about my illness", answer="you should see a doctor", tokens=5
        )
        builder.event("build", command=f"make KEY={SECRETS['HF_TOKEN']}", path="/home/alicesm/shim")
        for text in (*LINES, *KEPT):
            builder.line(text, process=process)
        for text in (*LINES, *SECRETS.values()):
            builder.call("cuModuleLoad", process=process, args=(1, 2), items=[string_item(1, text)])
        buffer = b"\x01\x02\xff" + SECRETS["HF_TOKEN"].encode() + b"\x00\x01" * 9
        builder.call(
            "cuMemcpyHtoD_v2", process=process, args=(1, 2, 3), items=[Item(ItemKind.IN, 1, buffer, 99)]
        )
        builder.call("cuDeviceGetName", process=process, items=[out_item(0, b"GPU of buildbox-17\0\0\0\0")])
    return Session(tmp_path / "s")


def test_nothing_is_left_in_the_corners_either(tmp_path: Path) -> None:
    lines = [line for line, _ in CORNERS]
    with SessionBuilder(tmp_path / "s", native.paths().model.read_bytes()) as builder:
        maps = [{"path": "/home/frankh/lib/libcudart.so.12", "soname": "", "build_id": "00ff"}]
        process = builder.process(
            ["curl", "-H", "X-Api-Key: argvHeader55", "https://u:argvPassw0rd@example.com"],
            env={"DATABASE_URL": "postgres://svc:envPassw0rd@db.internal/x", "HOME": "/home/frankh"},
            modules=[("/home/frankh/lib/libcuda.so.1", 0, 1)],
            maps=maps,
        )
        for role, text in zip(["target", "build", "host", "shim"] * len(lines), lines, strict=False):
            builder.line(text, process=process, role=role)
        alone = [line for line in lines if len(line) > 16]  # the end of a key, which nothing tells by itself
        for text in (*alone, *KEPT):
            builder.call("cuModuleLoad", process=process, args=(1, 2), items=[string_item(1, text)])
        builder.event("stacks", run=1, process=0, lines=lines, threads=[{"name": "frankh", "holder": ""}])
        builder.event("mark", call=1, note="try with ?token=inTheNote88")
        builder.event(
            "build", build=1, ok=False, diagnostics=[{"message": text, "path": "a.c"} for text in alone]
        )
        for text in KEPT:
            builder.line(text, process=process)
    planted = Session(tmp_path / "s")
    Marks(planted).put(Mark("line", 0, "late: password=inTheLateNote"))
    redactor = Redactor()
    redactor.learn(planted, {})
    copy_session(planted, tmp_path / "copy", redactor)
    after = everything(tmp_path / "copy")
    hidden = [word for _, words in CORNERS for word in words.split()]
    hidden += ["argvHeader55", "argvPassw0rd", "envPassw0rd", "db.internal", "frankh", "inTheNote88"]
    hidden += ["inTheLateNote"]
    assert [word for word in hidden if word.encode() in after] == []
    assert [text for text in KEPT if text.encode() not in after] == []


def everything(path: Path) -> bytes:
    """All that can be read out of a session: files as they are, and what is compressed in them."""
    session = Session(path)
    parts = [file.read_bytes() for file in path.iterdir() if file.is_file()]
    parts += [line.text for line in session.log.lines(0, len(session.log))]
    parts.append(json.dumps([event.fields for event in session.events]).encode())
    for row in range(len(session.calls)):
        parts += [item.data for item in session.calls.payload(row)]
    return b"\n".join(parts)


def test_nothing_planted_is_left(planted: Session, tmp_path: Path) -> None:
    before = everything(planted.path)
    assert [text for text in PLANTED if text.encode() not in before] == []
    redactor = Redactor()
    redactor.learn(planted, {})
    copy_session(planted, tmp_path / "copy", redactor)
    after = everything(tmp_path / "copy")
    assert [text for text in PLANTED if text.encode() in after] == []
    assert [text for text in KEPT if text.encode() not in after] == []
    assert redactor.found["secret"] and redactor.found["address"] and redactor.found["text"]


def test_prompts_stay_when_asked_for(planted: Session, tmp_path: Path) -> None:
    redactor = Redactor(keep_text=True)
    redactor.learn(planted, {})
    copy_session(planted, tmp_path / "copy", redactor)
    after = everything(tmp_path / "copy")
    assert b"tell me about my illness" in after and SECRETS["HF_TOKEN"].encode() not in after


def test_a_plain_copy_is_the_same_session(planted: Session, tmp_path: Path) -> None:
    copy_session(planted, tmp_path / "copy")
    copy = Session(tmp_path / "copy")
    assert copy.finished is not None and copy.damage == []
    assert [copy.calls.row(n) for n in range(len(copy.calls))] == [
        planted.calls.row(n) for n in range(len(planted.calls))
    ]
    assert copy.log.lines(0, len(copy.log)) == planted.log.lines(0, len(planted.log))
    assert [(e.kind, e.fields) for e in copy.events] == [(e.kind, e.fields) for e in planted.events]
    assert copy.manifest["machine"] == planted.manifest["machine"]
    assert copy.start_unix_ns == planted.start_unix_ns


def test_a_window_keeps_its_calls_and_lines(planted: Session, tmp_path: Path) -> None:
    middle = planted.calls.row(4).time
    copy_session(planted, tmp_path / "copy", window=Window(since_ns=middle))
    copy = Session(tmp_path / "copy")
    assert len(copy.calls) == len(planted.calls) - 4 and len(copy.processes) == 1


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("HF_TOKEN", True), ("AWS_SECRET_ACCESS_KEY", True), ("apiKey", True), ("SSH_AUTH_SOCK", False),
        ("n_tokens", False), ("PATH", False), ("author", False), ("CUDA_VISIBLE_DEVICES", False),
        ("OLLAMA_MODELS", False), ("LD_PRELOAD", False), ("DOCKER_AUTH_CONFIG", True), ("keys", False),
    ],
)  # fmt: skip
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret
