"""What is taken out of a session before it is handed to somebody else.

Found by name (an environment variable or a field called token, key, password ...), by shape (keys of known
services, JSON web tokens, private keys, addresses) and by what this machine and the session say of themselves
(user names, homes, host names). Everything found is replaced wherever else it stands. What a pattern can't
know is left: the preview lists what was found, and it is for a person to look.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

from sessions.blobs import Item
from sessions.format import ItemKind
from sessions.session import Session

_SECRET_NAME = re.compile(
    r"(?i)(?:token|secret|passw|passphrase|credential|cookie|bearer|private|signature|"
    r"auth(?!or)|(?:api|access|account|encryption|signing|ssh|license|master|session)_?-?key|(?:^|[_-])key$|(?:^|[_-])pw$|(?:^|_)pat$)"
)
_NOT_SECRET = re.compile(
    r"(?i)^(?:SSH_AUTH_SOCK|XAUTHORITY|.*_FILE|.*_PATH|.*_DIR|.*tokens.*|.*token_count)$"
)
_TEXT_NAME = re.compile(r"(?i)^(?:prompt|content|messages?|response|completion|generated|answer)$")
_MAX_TEXT = 1 << 20
_EXAMPLES = 200

_HOOK = rb"hooks\.slack\.com/services/[^\s'\"]+|discord(?:app)?\.com/api/webhooks/[^\s'\"]+"
_SHAPES = (
    (
        "private key",
        re.compile(
            rb"-----(?:BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END [A-Z ]*PRIVATE KEY-----)?|"
            rb"END [A-Z ]*PRIVATE KEY-----)",
            re.S,
        ),
    ),
    ("token", re.compile(rb"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?")),
    (
        "key",
        re.compile(
            rb"\b(?:sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|hf_[A-Za-z0-9]{16,}|"
            rb"glpat-[A-Za-z0-9_-]{16,}|xox[a-z]-[A-Za-z0-9-]{10,}|AKIA[A-Z0-9]{12,}|ASIA[A-Z0-9]{12,}|"
            rb"AIza[A-Za-z0-9_-]{30,}|nvapi-[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{20,}|pypi-[A-Za-z0-9_-]{16,})"
        ),
    ),
    ("password", re.compile(rb"(?<=://)[^\s/:@'\"]+:[^\s/@'\"]+(?=@)")),
    ("token", re.compile(rb"(?i)(?<=bearer )[A-Za-z0-9._~+/=-]{8,}")),
    ("password", re.compile(rb"(?i)(?<=basic )[A-Za-z0-9+/]{8,}={0,2}")),
    ("token", re.compile(rb"(?i)(?<=[?&;](?:sig|key)=)[^\s&;'\"]{6,}")),
    ("cookie", re.compile(rb"(?i)(?<=cookie: )[^\r\n]+")),
    ("web hook", re.compile(_HOOK)),
    (
        "key",
        re.compile(
            rb"(?<![A-Za-z0-9+/])(?![0-9A-Fa-f]+\b)[A-Za-z0-9+/]{64,76}={0,2}(?![A-Za-z0-9+/=])(?=\s*$)", re.M
        ),
    ),
    (
        "host",
        re.compile(
            rb"(?i)(?<![\w.-])[a-z0-9][\w-]*(?:\.[\w-]+)*\.(?:local|lan|internal|intranet|corp|home\.arpa|"
            rb"localdomain)(?![\w.-]*\w)"
        ),
    ),
    ("ssh key", re.compile(rb"\bssh-(?:rsa|ed25519|dss) [A-Za-z0-9+/=]{40,}")),
    ("mail address", re.compile(rb"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}\b")),
)
_ASSIGNED = re.compile(
    rb"""(?ix)(?P<name>["']?[a-z0-9_.-]*(?:token|secret|passw(?:or)?d|passphrase|[a-z0-9]_?-?key|credential|auth|signature)["']?)
    (?P<mid>\s*[=:]\s*)(?P<value>0x[0-9a-f]+\ "(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*"|'[^']*'|[^\s,;&"'}]+)"""
)
_OPTION = re.compile(
    rb"""(?ix)(?P<name>(?<![\w-])--?[a-z0-9_-]*(?:token|secret|passw(?:or)?d|passphrase|-key|credential)[a-z0-9_-]*)
    (?P<mid>[ ]+)(?P<value>[^\s"'-]\S*)"""
)
_LOG_TEXT = re.compile(
    rb"""(?ix)(?P<name>\b["']?(?:prompt|content|messages?|response|completion|generated_text)["']?\s*[=:]\s*)
    (?P<value>"(?:[^"\\]|\\.)*"|'[^']*'|\[.*\]|\{.*\}|[^\s,}"'\[{][^,}]*)"""
)
_KEY_END = re.compile(rb"-----(BEGIN|END) [A-Z ]*PRIVATE KEY-----")
_KEY_MATERIAL = re.compile(rb"[ +|>-]*[A-Za-z0-9+/]+={0,2}\s*")
_LONGEST_KEY = 400  # lines
_PLAIN_VALUE = re.compile(rb"true|false|null|none|\"\"|-?\d{1,7}[.;]?", re.I)  # `BOS token = 1` is no secret
_HOME = re.compile(rb"(/home|/Users|[A-Za-z]:(?:\\\\?|/)Users)(\\\\?|/)([^/\\\s:;,'\"=]+)")
_IPV4 = re.compile(rb"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)")
_IPV6 = re.compile(rb"(?<![\w:.])(?=[0-9A-Fa-f:]*\d)[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{4,35}(?:%\w+)?(?![\w:])")
_MAC = re.compile(rb"(?<![\w:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![\w:])")
_COMMON_NAMES = frozenset(
    {"root", "user", "ollama", "nobody", "daemon", "runner", "localhost", "vm", "host"}
    | {"home", "users", "app", "data", "work", "src", "lib", "var", "tmp"}  # of containers, where HOME is one
)


class Redactor:
    """An Edit (sessions.copy) that takes secrets out.

    `found` counts what, as it goes; `examples` are the first texts that were changed, before and after.
    """

    def __init__(self, *, keep_text: bool = False) -> None:
        """`keep_text`: leave prompts and generated text in."""
        self.keep_text = keep_text
        self.found: Counter[str] = Counter()
        self.examples: list[tuple[bytes, bytes]] = []
        self._known: dict[bytes, tuple[str, bytes]] = {}
        self._pattern: re.Pattern[bytes] | None = None
        self._addresses: dict[bytes, bytes] = {}
        self._amid_key = 0  # so many lines may still belong to it

    # What is known before the copy

    def learn(self, session: Session, environment: Mapping[str, str], names: Iterable[str] = ()) -> None:
        """Take secrets and names from the session, from this machine's environment and from `names`."""
        self._learn_environment(environment)
        for process in session.processes:
            self._learn_environment(process.env)
        for event in session.events:
            self._learn_fields(event.fields)
        host = session.manifest.get("machine", {}).get("host")
        self.add_name("host", str(host or ""))
        for name in names:
            self.add_name("host", name)

    def add_secret(self, value: str) -> None:
        """A text that is replaced wherever it stands."""
        if len(value) >= 4:
            self._add(value, "secret", b"<secret>")

    def add_name(self, kind: str, name: str) -> None:
        """A user's or a host's name; those that everybody has stay."""
        if len(name) >= 2 and name.lower() not in _COMMON_NAMES and not name.isdigit():
            self._add(name, kind, f"<{kind}>".encode())

    # sessions.copy.Edit

    def line(self, text: bytes) -> bytes:
        """A line; of a private key that is printed line by line what lies between its ends as well."""
        if self._amid_key and _KEY_MATERIAL.fullmatch(text):
            self._amid_key -= 1
            self.found["private key"] += 1
            return b"<private key>" + text[len(text.rstrip()) :]
        if _KEY_END.search(text):
            self._amid_key = _LONGEST_KEY if _KEY_END.findall(text)[-1] == b"BEGIN" else 0
        return self.text(text)

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        edited = self._value("", dict(fields))
        assert isinstance(edited, dict)
        return edited

    def item(self, item: Item) -> Item:
        if item.kind == ItemKind.STRING or (item.kind in (ItemKind.IN, ItemKind.OUT) and _is_text(item.data)):
            data = self.text(item.data)
            if data == item.data:
                return item
            return Item(
                item.kind, item.index, data, item.original if item.kind != ItemKind.STRING else len(data)
            )
        if item.kind in (ItemKind.IN, ItemKind.OUT) and len(item.data) > 8:
            data = self._same_length(item.data)
            return Item(item.kind, item.index, data, item.original)
        return item

    def blob(self, data: bytes) -> bytes | None:
        """Texts of kernels are the consumer's code, not ours to hand on; whoever reads a report has none."""
        return None

    def text(self, text: bytes) -> bytes:
        """Any text."""
        edited = self._text(text)
        if edited != text and len(self.examples) < _EXAMPLES:
            self.examples.append((text, edited))
        return edited

    def _text(self, text: bytes) -> bytes:
        if len(text) > _MAX_TEXT:
            self.found["line too long to look through"] += 1
            return b"<a line of %d bytes, too long to look through>" % len(text)
        text = self._replace_known(text)
        text = _OPTION.sub(self._assigned, _ASSIGNED.sub(self._assigned, text))
        for kind, shape in _SHAPES:
            text = shape.sub(self._counted(kind), text)
        if not self.keep_text:
            text = _LOG_TEXT.sub(self._log_text, text)
        text = _HOME.sub(self._home, text)
        text = _MAC.sub(self._counted("address"), text)
        text = _IPV4.sub(self._address, text)
        return _IPV6.sub(self._address, text)

    # Parts

    def _add(self, value: str, kind: str, instead: bytes) -> None:
        if self._known.setdefault(value.encode(), (kind, instead)):
            self._pattern = None

    def _learn_environment(self, environment: Mapping[str, str]) -> None:
        for name, value in environment.items():
            if is_secret_name(name):
                self.add_secret(value)
            elif name in ("USER", "LOGNAME", "USERNAME", "SUDO_USER"):
                self.add_name("user", value)
            elif name == "HOME":
                self.add_name("user", PurePosixPath(value).name)
            elif name in ("HOSTNAME", "HOST"):
                self.add_name("host", value)

    def _learn_fields(self, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                if isinstance(inner, str) and is_secret_name(str(name)):
                    self.add_secret(inner)
                else:
                    self._learn_fields(inner)
        elif isinstance(value, list):
            self._learn_options([inner for inner in value if isinstance(inner, str)])
            for inner in value:
                self._learn_fields(inner)

    def _learn_options(self, words: list[str]) -> None:
        """Of a command line: `--password SECRET` and `--password=SECRET`."""
        for word, after in zip(words, [*words[1:], ""], strict=False):
            name, equals, value = word.partition("=")
            if not name.startswith("-") or not is_secret_name(name.lstrip("-")):
                continue
            secret = value if equals else after
            if not secret.startswith("-") and not _PLAIN_VALUE.fullmatch(secret.encode()):
                self.add_secret(secret)

    def _value(self, name: str, value: Any) -> Any:
        if isinstance(value, str):
            if name and is_secret_name(name) and value:
                self.found["secret"] += 1
                return "<secret>"
            if not self.keep_text and _TEXT_NAME.match(name) and value:
                self.found["text"] += 1
                return f"<{len(value)} characters>"
            # Of a list of lines a private key may take several.
            return self.line(value.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
        if isinstance(value, dict):
            return {self._name(key): self._value(key, inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._value(name, inner) for inner in value]
        return value

    def _name(self, name: str) -> str:
        return self._replace_known(name.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")

    def _replace_known(self, text: bytes) -> bytes:
        if not self._known:
            return text
        if self._pattern is None:
            longest = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile(b"|".join(self._bounded(value) for value in longest))
        return self._pattern.sub(self._known_text, text)

    def _bounded(self, value: bytes) -> bytes:
        """Names only as words of their own; secrets everywhere."""
        if self._known[value][0] == "secret":
            return re.escape(value)
        return rb"(?<![A-Za-z0-9])" + re.escape(value) + rb"(?![A-Za-z0-9])"

    def _known_text(self, match: re.Match[bytes]) -> bytes:
        kind, instead = self._known[match[0]]
        self.found[kind] += 1
        return instead

    def _same_length(self, data: bytes) -> bytes:
        """Bytes that are no text keep their length: what stands behind a secret must not move."""
        for value in self._known:
            if len(value) >= 6 and value in data:
                self.found[self._known[value][0]] += 1
                data = data.replace(value, b"x" * len(value))
        for kind, shape in _SHAPES:
            found = shape.findall(data)
            if found:
                self.found[kind] += len(found)
                data = shape.sub(lambda match: b"x" * len(match[0]), data)
        return data

    def _counted(self, kind: str) -> Callable[[re.Match[bytes]], bytes]:
        def replaced(match: re.Match[bytes]) -> bytes:
            self.found[kind] += 1
            return f"<{kind}>".encode()

        return replaced

    def _assigned(self, match: re.Match[bytes]) -> bytes:
        name = match["name"].strip(b"\"'-").decode("ascii", "replace")
        if not is_secret_name(name) or _PLAIN_VALUE.fullmatch(match["value"]):
            return match[0]
        self.found["secret"] += 1
        quote = match["value"][:1] if match["value"][:1] in (b'"', b"'") else b""
        return match["name"] + match["mid"] + quote + b"<secret>" + quote

    def _log_text(self, match: re.Match[bytes]) -> bytes:
        if re.fullmatch(rb"\d+(?:\.\d+)?(?: tokens?)?\s*", match["value"]):
            return match[0]
        self.found["text"] += 1
        return match["name"] + b"<%d bytes of text>" % len(match["value"])

    def _home(self, match: re.Match[bytes]) -> bytes:
        if match[3].startswith(b"<"):
            return match[0]
        self.found["home"] += 1
        return match[1] + match[2] + b"<user>"

    def _address(self, match: re.Match[bytes]) -> bytes:
        try:
            address = ipaddress.ip_address(match[0].partition(b"%")[0].decode())
        except ValueError:
            return match[0]
        if address.is_loopback or address.is_unspecified:
            return match[0]
        self.found["address"] += 1
        return self._addresses.setdefault(match[0], b"<address %d>" % (len(self._addresses) + 1))

    def summary(self) -> str:
        """`3 secrets, 12 addresses`, for the preview."""
        return ", ".join(f"{count} x {kind}" for kind, count in self.found.most_common()) or "nothing"


def is_secret_name(name: str) -> bool:
    """Whether something called this is usually secret."""
    return _SECRET_NAME.search(name) is not None and _NOT_SECRET.match(name) is None


def _is_text(data: bytes) -> bool:
    bare = data.rstrip(b"\0")
    return len(bare) > 3 and all(32 <= byte < 127 or byte in (9, 10, 13) or byte >= 128 for byte in bare)
