"""Numbers as people read them in a pane: durations, times, sizes, counts."""

from __future__ import annotations


def count_text(value: int) -> str:
    """Thousands apart: 12480 -> "12 480"."""
    return f"{value:,}".replace(",", " ")


def amount_text(value: int) -> str:
    """A large count in three figures: 12480 -> "12.5 k", 640000000 -> "640 M"."""
    if value < 1000:
        return str(value)
    amount = float(value)
    for unit in ("k", "M", "G", "T"):  # noqa: B007
        amount /= 1000
        if amount < 999.5:
            break
    digits = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:.{digits}f} {unit}"


def duration_text(ns: int) -> str:
    """A duration with three figures and its unit: 832 ns, 4.21 us, 1.3 s."""
    if ns < 1000:
        return f"{max(ns, 0)} ns"
    value = float(ns)
    for unit in ("us", "ms", "s"):
        value /= 1000
        if value < 999.5 or unit == "s":
            break
    if unit == "s" and value >= 100:
        minutes, seconds = divmod(int(value), 60)
        return f"{minutes} min {seconds} s"
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f} {unit}"


def time_text(ns: int) -> str:
    """Time since the session's start in seconds, to the microsecond: "12.345 678"."""
    seconds, rest = divmod(max(ns, 0), 1_000_000_000)
    micro = rest // 1000
    return f"{seconds}.{micro // 1000:03d} {micro % 1000:03d}"


def bytes_text(size: int) -> str:
    """Binary sizes: 512 B, 4.0 KiB, 7.9 GiB."""
    value = float(size)
    if value < 1024:
        return f"{size} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007
        value /= 1024
        if value < 1023.95:
            break
    return f"{value:.1f} {unit}"


def elide(text: str, width: int) -> str:
    """The text in at most `width` characters, its end replaced by an ellipsis."""
    if len(text) <= width:
        return text
    return text[: max(width - 1, 0)] + "…" if width > 0 else ""


def elide_start(text: str, width: int) -> str:
    """Like elide, but keeps the end: for paths."""
    if len(text) <= width:
        return text
    return "…" + text[len(text) - width + 1 :] if width > 1 else text[-width:] if width > 0 else ""


def ended_words(reason: str) -> str:
    """How a run, or a process of one, is told that the workbench ended, by the reason it gave then."""
    return "ended with the session" if reason == "the workbench ends" else f"ended ({reason})"
