"""Exercises over a real server process: tokens, times, errors, and the comparison with the CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from workbench.config import Exercise
from workbench.target.answers import AnswerReader
from workbench.target.exercise import compare_tokens, greedy, of_command, of_output, request

ASK = Exercise(http="/api/generate", json={"model": "tiny", "prompt": "hi"})


async def ask(url: str, exercise: Exercise = ASK):  # type: ignore[no-untyped-def]
    assert exercise.http is not None
    return await request(exercise, url + exercise.http, patience=20)


async def test_streamed_tokens_are_counted_and_the_first_is_timed(serve: Callable[..., str]) -> None:
    outcome = await ask(serve("a", "b", "c"))  # asked at once: it waits until the server listens
    assert outcome.ok and outcome.status == 200
    assert outcome.tokens == 3 and outcome.text == "abc" and outcome.pieces == ("a", "b", "c")
    assert outcome.first_token_seconds is not None and 0 < outcome.first_token_seconds <= outcome.seconds


async def test_an_error_among_the_tokens_is_the_outcome(serve: Callable[..., str]) -> None:
    outcome = await ask(serve("a", "#"))
    assert not outcome.ok and outcome.error == "out of memory" and outcome.text == "a"


async def test_a_refused_path_is_told_with_its_status(serve: Callable[..., str]) -> None:
    outcome = await ask(serve("a"), Exercise(http="/api/nothing", json={}))
    assert not outcome.ok and outcome.status == 404 and outcome.error.startswith("HTTP 404")


@pytest.mark.parametrize("end", ["!", "?"])
async def test_a_connection_that_breaks_keeps_what_came_before(serve: Callable[..., str], end: str) -> None:
    outcome = await ask(serve("a", "b", end))
    assert not outcome.ok and "the connection broke" in outcome.error
    assert outcome.text == "ab"


async def test_a_server_that_never_listens_is_given_up() -> None:
    outcome = await request(ASK, "http://127.0.0.1:9/api/generate", patience=0.1)
    assert not outcome.ok and "did not listen" in outcome.error


async def test_the_first_token_that_differs_from_the_cpus_is_named(serve: Callable[..., str]) -> None:
    url = serve("a", "b", "x", "--cpu", "a", "b", "c")
    gpu, cpu = await ask(url, greedy(ASK, gpu=True)), await ask(url, greedy(ASK, gpu=False))
    expectation = compare_tokens(gpu, cpu)
    assert not expectation.same and expectation.at == 3
    assert expectation.text == "token 3 is 'x', the CPU backend's is 'c'"
    assert compare_tokens(gpu, gpu).same


async def test_no_tokens_are_never_called_the_same(serve: Callable[..., str]) -> None:
    nothing = await ask(serve())
    assert nothing.ok and not compare_tokens(nothing, nothing).same


def read(*pieces: bytes) -> AnswerReader:
    reader = AnswerReader()
    for piece in pieces:
        reader.feed(piece)
    reader.finish()
    return reader


def test_one_object_without_streaming_is_read_as_well() -> None:
    reader = read(b'{"response": "hello', b' there",\n "eval_count": 2, "done": true}')
    assert reader.text == "hello there" and reader.tokens == 2


def test_chat_and_openai_streams_are_understood() -> None:
    chat = read(b'{"message": {"content": "a"}}\n{"message": {"content": "b"}, "done": true}\n')
    assert chat.text == "ab" and chat.tokens == 2
    openai = read(
        b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "b"}}]}\n\ndata: [DO',
        b"NE]\n",
    )
    assert openai.pieces == ["a", "b"]
    error = read(b'{"error": {"message": "no such model", "code": 404}}')
    assert error.error == "no such model"


def test_a_commands_words_can_be_compared_and_its_failure_is_told() -> None:
    outcome = of_command(0, "exit status 0", [(0.1, b"one two"), (0.2, b"three")], 0.3)
    assert outcome.ok and outcome.tokens is None and outcome.pieces == ("one", "two", "three")
    failed = of_command(3, "exit status 3", [], 0.3)
    assert not failed.ok and failed.error == "the exercise ended with exit status 3"


def test_tokens_in_a_targets_output_are_waited_for() -> None:
    lines = [(1.0, b"token 1: 5 -> 7, 2 ms"), (2.0, b"nothing"), (3.0, b"token 2: 7 -> 9, 2 ms")]
    assert of_output(r"token \d+: \d+ -> (\d+)", 3, lines) is None
    whole = of_output(r"token \d+: \d+ -> (\d+)", 2, lines)
    assert whole is not None and whole.ok and whole.pieces == ("7", "9")
    assert whole.first_token_seconds == 1.0 and whole.seconds == 3.0
    cut = of_output(r"token \d+: \d+ -> (\d+)", 3, lines, "the target ended")
    assert cut is not None and cut.error == "2 of 3 tokens, then the target ended"


def test_tokens_are_asked_for_one_by_one_where_they_are_compared() -> None:
    whole = Exercise(http="/api/generate", json={"model": "tiny", "stream": False}, expect="cpu")
    assert [greedy(whole, gpu).json["stream"] for gpu in (True, False)] == [True, True]  # type: ignore[index]
