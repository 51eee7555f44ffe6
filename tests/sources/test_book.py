"""Which rank it is about, and what a tap tells."""

from __future__ import annotations

from dp_coordinator.sources.book import Book
from dp_coordinator.sources.telling import Answer, Sample
from dp_coordinator.wire.client import EngineLoad, Publication
from dp_coordinator.words import SourceKind, TargetState

A, B, C = "http://a:1", "http://b:1", "http://c:1"


def told(*engines: int, running: int = 1) -> Answer:
    return Answer(SourceKind.VLLM, tuple(Sample(engine, 0, running) for engine in engines))


def ranks(book: Book) -> dict[str, tuple[int, ...]]:
    return {target.name: target.ranks for target in book.view().targets}


def test_who_never_answered_has_the_place_that_is_left_in_the_order_of_targets() -> None:
    book = Book(placed=True)
    book.ask([A, B, C])
    assert ranks(book) == {A: (0,), B: (1,), C: (2,)}
    book.answered(B, told(0), 1.0)
    assert ranks(book) == {A: (1,), B: (0,), C: (2,)}
    book.answered(A, told(2), 2.0)
    assert ranks(book) == {A: (2,), B: (0,), C: (1,)}


def test_instances_of_several_engines_each() -> None:
    book = Book(placed=True)
    book.ask([A, B, C])
    book.answered(A, told(0, 1), 1.0)
    book.answered(C, told(0, 1, running=7), 1.0)
    assert ranks(book) == {A: (0, 1), B: (2, 3), C: (4, 5)}
    view = book.view()
    assert view.independent
    running = view.ranks[5].running
    assert running is not None
    assert running.value == 7


def test_beside_a_coordinator_nobody_is_a_deployment_of_its_own() -> None:
    book = Book(placed=False)
    book.ask([A, B, C])
    assert ranks(book) == {A: (), B: (), C: ()}
    book.answered(A, told(0), 1.0)
    book.answered(B, told(0), 1.0)
    assert ranks(book) == {A: (0,), B: (), C: ()}
    states = {target.name: target.state for target in book.view().targets}
    assert states == {A: TargetState.ANSWERS, B: TargetState.UNUSABLE, C: TargetState.NEW}


def test_a_rank_that_moved_while_its_old_place_is_silent() -> None:
    book = Book(placed=False)
    book.ask([A, B])
    book.answered(A, told(3), 1.0)
    book.failed(A, TargetState.SILENT, "gone", 2.0)
    book.answered(B, told(3, running=5), 3.0)
    running = book.view().ranks[3].running
    assert running is not None
    assert (running.value, running.origin.target) == (5, B)


def test_a_disputed_rank_goes_to_the_one_that_still_answers() -> None:
    book = Book(placed=False)
    book.ask([A, B])
    book.answered(A, told(3), 1.0)
    book.answered(B, told(3, running=5), 1.0)
    assert ranks(book) == {A: (3,), B: ()}
    book.failed(A, TargetState.SILENT, "gone", 2.0)
    assert ranks(book) == {A: (), B: (3,)}
    book.answered(A, told(3), 3.0)
    assert ranks(book) == {A: (), B: (3,)}


def test_targets_that_are_taken_off_the_list_are_forgotten() -> None:
    book = Book(placed=True)
    book.ask([A, B])
    book.answered(A, told(0), 1.0)
    book.answered(B, told(1), 1.0)
    book.ask([B])
    assert list(book.view().ranks) == [1]
    book.answered(A, told(0), 2.0)  # under way when it was taken off
    assert list(book.view().ranks) == [1]


def test_a_tap_tells_zeros_only_of_ranks_that_had_something() -> None:
    book = Book(placed=True)
    book.listen("tcp://c:1")
    book.tapped("tcp://c:1", Publication((EngineLoad(0, 0), EngineLoad(1, 2, 0.5)), 7, True), 1.0)
    view = book.view()
    assert view.tapped is not None
    assert (view.tapped.current_wave, view.tapped.engines_running) == (7, True)
    assert view.ranks[0].running is None
    assert view.ranks[1].newest is not None
    book.tapped("tcp://c:1", Publication((EngineLoad(0, 0), EngineLoad(0, 0)), 8, False), 2.0)
    book.tapped("tcp://c:1", Publication(None, 8, False), 3.0)
    running = [view.running and view.running.value for view in book.view().ranks.values()]
    assert running == [None, 0]


def test_an_api_server_goes_before_a_tap() -> None:
    book = Book(placed=True)
    book.listen("tcp://c:1")
    book.ask([A])
    book.answered(A, told(0, running=4), 1.0)
    book.tapped("tcp://c:1", Publication((EngineLoad(0, 1), EngineLoad(0, 2)), 7, True), 9.0)
    running = [view.running and view.running.value for view in book.view().ranks.values()]
    assert running == [4, 2]
    assert ranks(book) == {A: (0,), "tcp://c:1": (1,)}
    book.tap_failed("tcp://c:1", "nothing was heard for 15 s", 30.0)
    assert book.view().tapped is None
    assert list(book.view().ranks) == [0]


def test_requests_that_only_arrive_are_no_step() -> None:
    book = Book(placed=True)
    book.ask([A])
    steps = [(4, 1, 0.5), (5, 1, 0.5), (9, 1, 0.5), (8, 1, 0.5), (8, 2, 0.5), (8, 2, 0.6), (9, 2, 0.6)]
    moved = []
    for now, (waiting, running, usage) in enumerate(steps):
        sample = Sample(0, waiting, running, usage, beat=7.0, unit="steps")
        book.answered(A, Answer(SourceKind.VLLM, (sample,)), float(now))
        heartbeat = book.view().ranks[0].heartbeat
        assert heartbeat is not None
        moved.append(heartbeat.moved_at)
    assert moved == [0, 0, 0, 3, 4, 5, 5]
