"""Which process of a run stands for which of the other, and which thread for which."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from sessions.diff.align import align
from sessions.diff.sides import Member, Thread

ThreadPair = tuple[Thread | None, Thread | None]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Pair:
    """Two processes that stand for each other, or one alone; `role`: with a number from the second on."""

    role: str
    a: Member | None
    b: Member | None
    threads: list[ThreadPair]


def pair_members(ours: Sequence[Member], others: Sequence[Member]) -> list[Pair]:
    """Of those with one role first those that do the very same, then those with the same words, then by
    their order: which of several began first is chance. A's in their order, then what B alone has."""
    by_role: dict[str, tuple[list[Member], list[Member]]] = defaultdict(lambda: ([], []))
    for side, members in enumerate((ours, others)):
        for member in members:
            by_role[member.role][side].append(member)
    partner: dict[int, Member] = {}
    for mine, theirs in by_role.values():
        matched = _matched(
            mine, theirs, (lambda member: (member.words, member.content), lambda member: member.words)
        )
        partner.update({id(a): b for a, b in matched})
    seen: Counter[str] = Counter()

    def role_of(member: Member) -> str:
        seen[member.role] += 1
        return f"{member.role} #{seen[member.role]}" if seen[member.role] > 1 else member.role

    pairs = [
        Pair(role_of(a), a, b := partner.get(id(a)), pair_threads(a.threads, b.threads if b else []))
        for a in ours
    ]
    taken = {id(b) for b in partner.values()}
    pairs += [
        Pair(role_of(b), None, b, [(None, thread) for thread in b.threads])
        for b in others
        if id(b) not in taken
    ]
    return pairs


def pair_threads(ours: list[Thread], others: list[Thread]) -> list[ThreadPair]:
    """Threads that make the very same calls stand for each other, the others by their order.

    Where that leaves more unpaired than taking all calls as one sequence does, and no two calls of different
    threads overlap on either side, they are one: a goroutine calls from whatever thread it is on.
    """
    partner = {id(a): b for a, b in _matched(ours, others, (lambda thread: thread.keys.tobytes(),))}
    taken = {id(b) for b in partner.values()}
    pairs: list[ThreadPair] = [(a, partner.get(id(a))) for a in ours]
    pairs += [(None, b) for b in others if id(b) not in taken]
    if not ours or not others or max(len(ours), len(others)) < 2:
        return pairs
    apart = _unpaired(pairs)
    if not apart or not (_take_turns(ours) and _take_turns(others)):
        return pairs
    merged: list[ThreadPair] = [(_as_one(ours), _as_one(others))]
    return merged if _unpaired(merged) < apart else pairs


def _matched(
    ours: Sequence[Item], others: Sequence[Item], keys: tuple[Callable[[Item], Hashable], ...]
) -> Iterator[tuple[Item, Item]]:
    """Pairs with equal keys, of the first key first; then the rest in order."""
    left, right = list(ours), list(others)
    for key in keys:
        waiting: dict[Hashable, list[Item]] = defaultdict(list)
        for other in right:
            waiting[key(other)].append(other)
        rest = []
        for mine in left:
            if same := waiting[key(mine)]:
                yield mine, same.pop(0)
            else:
                rest.append(mine)
        still = {id(other) for each in waiting.values() for other in each}
        left, right = rest, [other for other in right if id(other) in still]
    yield from zip(left, right, strict=False)


def _unpaired(pairs: list[ThreadPair]) -> int:
    """How many calls have none that they stand for."""
    count = 0
    for a, b in pairs:
        if a is None or b is None:
            count += len((a or b or _EMPTY).rows)
        elif not np.array_equal(a.keys, b.keys):
            blocks = [block for block in align(a.keys, b.keys) if not block.same]
            count += sum(block.a_end - block.a + block.b_end - block.b for block in blocks)
    return count


def _take_turns(threads: list[Thread]) -> bool:
    """Whether no call is begun while one of another thread is under way."""
    if len(threads) < 2:
        return True
    began = np.concatenate([thread.columns["time"] for thread in threads]).astype(np.int64)
    ended = began + np.concatenate([thread.columns["duration"] for thread in threads]).astype(np.int64)
    whose = np.concatenate([np.full(len(thread.rows), n) for n, thread in enumerate(threads)])
    order = np.argsort(began, kind="stable")
    began, ended, whose = began[order], ended[order], whose[order]
    over = np.maximum.accumulate(ended)[:-1]
    return not bool(((began[1:] < over) & (whose[1:] != whose[:-1])).any())


def _as_one(threads: list[Thread]) -> Thread:
    """Their calls in the order in which they began."""
    if len(threads) == 1:
        return threads[0]
    columns = {
        name: np.concatenate([thread.columns[name] for thread in threads]) for name in threads[0].columns
    }
    order = np.lexsort((columns["sequence"], columns["time"]))
    return Thread(
        np.concatenate([thread.rows for thread in threads])[order],
        {name: column[order] for name, column in columns.items()},
        np.concatenate([thread.keys for thread in threads])[order],
    )


_EMPTY = Thread(np.empty(0, np.int64), {}, np.empty(0, np.int64))
