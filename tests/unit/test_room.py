"""Answers in memory: no more of them at once than there is room for."""

import threading

import pytest

from eeflow.room import Room


def test_an_answer_waits_until_there_is_room():
    room, read = Room(10), threading.Event()
    first = room.answer(6, lambda: b"first")

    def second():
        with room.answer(6, lambda: read.set() or b"second"):
            pass

    waiting = threading.Thread(target=second)
    with first as body:
        waiting.start()
        with room.answer(4, lambda: b"fits"):
            assert not read.wait(0.05)
        assert (body, first.size) == (b"first", 5)
    assert read.wait(10)
    waiting.join()


def test_an_answer_larger_than_the_room_has_its_turn_alone():
    room = Room(10)
    with room.answer(1000, lambda: b"large") as body:
        assert body == b"large"
    with room.answer(10, lambda: b"next") as body:
        assert body == b"next"


def test_an_answer_that_breaks_off_takes_no_room():
    room = Room(10)
    with pytest.raises(OSError, match="cut"):
        room.answer(10, broken)
    with room.answer(10, lambda: b"whole") as body:
        assert body == b"whole"


def broken():
    raise OSError("cut")
