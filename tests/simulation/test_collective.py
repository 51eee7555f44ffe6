"""The rules of the process group: by example, then with any order of events."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dp_coordinator.simulation.collective import AllReduceResult, Collective, Contribution, Delivery

SIZE = 3


def formed(size: int = 2) -> Collective:
    group = Collective(size)
    for rank in range(size):
        assert group.join(rank) == []
    return group


def told(outcome: AllReduceResult, **ranks: bool) -> list[Delivery]:
    """`r1=True`: rank 1 is answered; `r1=False`: it hears the news."""
    return [Delivery(int(name[1:]), outcome, answer) for name, answer in ranks.items()]


def test_a_rank_that_steps_alone_waits_for_all_others() -> None:
    group = formed(3)
    assert group.contribute(0, Contribution(True, 4, 1)) == []
    assert group.contribute(2, Contribution(False, 4, 1)) == []
    assert group.contribute(1, Contribution(False, 4, 1)) == told(
        AllReduceResult(True, 4, 1), r0=True, r1=True, r2=True
    )


def test_nobody_steps_before_all_were_there_once() -> None:
    group = Collective(2)
    group.join(0)
    assert group.contribute(0, Contribution(True, 0, 1)) == []
    # rank 1 is new and idle, rank 0 was in the middle of a step: it is told, not waited for
    assert group.join(1) == told(AllReduceResult(True, 0, 1), r0=True, r1=False)
    assert group.taking_part == {0}


def test_the_others_go_on_when_a_rank_dies() -> None:
    group = formed(2)
    group.contribute(0, Contribution(True, 0, 5))
    assert group.leave(1) == told(AllReduceResult(True, 0, 5), r0=True)
    assert group.contribute(0, Contribution(False, 0, 6)) == told(AllReduceResult(False, 0, 6), r0=True)


def test_one_that_comes_back_hears_the_news_and_is_waited_for_once_it_contributes() -> None:
    group = formed(2)
    group.leave(1)
    group.contribute(0, Contribution(True, 3, 1))
    assert group.join(1) == []
    assert group.last == AllReduceResult(True, 3, 1)
    assert group.contribute(0, Contribution(True, 3, 2)) == told(AllReduceResult(True, 3, 2), r0=True, r1=False)
    assert group.contribute(1, Contribution(False, 3, 3)) == []
    assert group.contribute(0, Contribution(True, 3, 3)) == told(AllReduceResult(True, 3, 3), r0=True, r1=True)
    assert group.contribute(0, Contribution(True, 3, 4)) == []


def test_one_that_comes_too_late_for_a_step_is_told_what_became_of_it() -> None:
    group = formed(2)
    group.leave(1)
    group.contribute(0, Contribution(True, 3, 31))
    group.join(1)
    group.contribute(0, Contribution(False, 3, 32))
    assert group.contribute(1, Contribution(True, 3, 32)) == told(AllReduceResult(False, 3, 32), r1=True)
    assert group.contributions == {}
    assert group.taking_part == {0, 1}


class AnyOrder(RuleBasedStateMachine):
    """Ranks come, go and contribute in any order; each step is checked against what was brought to it."""

    def __init__(self) -> None:
        super().__init__()
        self.group = Collective(SIZE)
        self.brought: dict[int, Contribution] = {}

    def check(self, deliveries: list[Delivery]) -> None:
        if not deliveries:
            return
        assert self.group.formed
        assert [each.rank for each in deliveries] == sorted(self.group.connected)
        assert {each.rank for each in deliveries if each.answer} == self.brought.keys()
        (outcome,) = {each.outcome for each in deliveries}
        assert outcome.unfinished == any(each.unfinished for each in self.brought.values())
        assert outcome[1:] == max(each[1:] for each in self.brought.values())
        assert self.group.taking_part <= self.brought.keys()
        self.brought.clear()

    @rule(rank=st.integers(0, SIZE - 1))
    def join(self, rank: int) -> None:
        if rank not in self.group.connected:
            self.check(self.group.join(rank))

    @precondition(lambda self: self.group.connected)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        rank = data.draw(st.sampled_from(sorted(self.group.connected)))
        self.brought.pop(rank, None)
        self.check(self.group.leave(rank))

    @precondition(lambda self: self.group.connected)
    @rule(data=st.data(), unfinished=st.booleans(), wave=st.integers(0, 3), step=st.integers(1, 3))
    def contribute(self, data: st.DataObject, unfinished: bool, wave: int, step: int) -> None:
        idle = sorted(self.group.connected - self.brought.keys())
        if not idle:
            return
        rank = data.draw(st.sampled_from(idle))
        contribution, last = Contribution(unfinished, wave, step), self.group.last
        waited_for = rank in self.group.taking_part
        deliveries = self.group.contribute(rank, contribution)
        if self.group.formed and not waited_for and last is not None and (wave, step) <= last[1:]:
            assert deliveries == [Delivery(rank, last, True)]
            assert rank in self.group.taking_part
            return
        self.brought[rank] = contribution
        self.check(deliveries)

    @invariant()
    def nobody_waits_for_the_gone_or_for_everyone_present(self) -> None:
        group = self.group
        assert group.contributions == self.brought
        assert group.taking_part <= group.connected
        if group.formed and self.brought:
            assert group.taking_part - self.brought.keys(), "all that take part have contributed, yet no step began"


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
