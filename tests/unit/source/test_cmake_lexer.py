"""CMake's grammar as far as arguments go: quotes, brackets, comments, generator expressions, broken files."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.source.buildfiles.cmake_lexer import Command, commands


def read(text: str) -> list[Command]:
    return list(commands(text.encode()))


def test_names_and_words():
    (command,) = read('Set(CMAKE_CUDA_ARCHITECTURES "75;80" CACHE STRING "")')
    assert (command.name, command.words) == ("set", ("CMAKE_CUDA_ARCHITECTURES", "75;80", "CACHE", "STRING", ""))


def test_spans_are_the_text_without_quotation_marks():
    text = 'set(A "75" [==[x ]] y]==] z)'
    (command,) = read(text)
    assert [text[one.start : one.end] for one in command.arguments] == ["A", "75", "x ]] y", "z"]
    assert [one.text for one in command.arguments] == ["A", "75", "x ]] y", "z"]


@pytest.mark.parametrize(
    "comment", ["# set(A 1)\n", "#[[ set(A 1)\n set(A 2) ]]", "#[=[ ]] set(A 1)\n]=]\n", "# it's a ( \" mess\n"]
)
def test_comments_hold_no_commands(comment):
    assert [command.words for command in read(f"{comment}\nset(B 2) {comment}")] == [("B", "2")]


def test_comment_inside_arguments():
    (command,) = read("set(A # 50;60\n  80)")
    assert command.words == ("A", "80")


def test_semicolons_part_unquoted_arguments_only():
    (command,) = read('set(A 80;89;90 "1;2")')
    assert command.words == ("A", "80", "89", "90", "1;2")


def test_inner_parentheses_are_arguments():
    (command,) = read("if(A AND (B OR C))")
    assert command.words == ("A", "AND", "(", "B", "OR", "C", ")")


def test_generator_expression_and_escapes():
    (command,) = read(r'target_compile_options(x PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-arch=sm_60> "a \" b")')
    assert command.words[2:] == ("$<$<COMPILE_LANGUAGE:CUDA>:-arch=sm_60>", r"a \" b")


@pytest.mark.parametrize("text", ["set(A 1) set(B", 'set(A 1) set(B "x', "set(A 1) ]] nonsense", "set(A 1) set(B [[x)"])
def test_broken_file_keeps_what_came_before(text):
    assert read(text)[0].words == ("A", "1")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_end(data):
    for command in commands(data):
        assert 0 <= command.start < command.end <= len(data)
        for argument in command.arguments:
            assert data[argument.start : argument.end].decode("utf-8", "backslashreplace") == argument.text


@pytest.mark.parametrize("text", ["set(" + "[[ " * 100_000, "set(" + "(" * 200_000, "#[[" * 100_000, 'set("' * 100_000])
def test_time_stays_linear(text):
    started = time.process_time()
    read(text)
    assert time.process_time() - started < 5
