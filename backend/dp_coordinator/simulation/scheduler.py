"""Which requests of one engine run and which wait. No I/O, no clock: one call is one step."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class Job:
    """A request at an engine."""

    client: bytes
    """Who gets the answer."""
    id: int
    """The client's own number for it."""
    prompt_tokens: int
    """What it takes of the key-value cache from the start; one token is added by every step."""
    steps: int
    """How many steps it takes in all."""
    done: int = 0
    """How many it had."""

    @property
    def tokens(self) -> int:
        """What it takes of the key-value cache now."""
        return self.prompt_tokens + self.done

    @property
    def tokens_at_the_end(self) -> int:
        """What it will have taken when it is finished."""
        return self.prompt_tokens + self.steps


class Scheduler:
    """First come, first served; as many at a time as there is room for."""

    def __init__(self, max_num_seqs: int, kv_cache_tokens: int) -> None:
        self._max_num_seqs = max_num_seqs
        self._kv_cache_tokens = kv_cache_tokens
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []

    @property
    def counts(self) -> tuple[int, int]:
        """How many wait and how many run."""
        return len(self._waiting), len(self._running)

    @property
    def kv_cache_usage(self) -> float:
        """Share of the key-value cache that running requests take, 0 to 1."""
        return min(1.0, sum(job.tokens for job in self._running) / self._kv_cache_tokens)

    @property
    def unfinished(self) -> bool:
        """Whether any request waits or runs."""
        return bool(self._waiting or self._running)

    def add(self, job: Job) -> None:
        """Let a request wait."""
        self._waiting.append(job)

    def admit(self) -> None:
        """Let waiting requests run while there is room; a single one always may."""
        reserved = sum(job.tokens_at_the_end for job in self._running)
        while self._waiting and len(self._running) < self._max_num_seqs:
            reserved += self._waiting[0].tokens_at_the_end
            if self._running and reserved > self._kv_cache_tokens:
                return
            self._running.append(self._waiting.popleft())

    def unfinished_after_step(self) -> bool:
        """Whether anything will be left after the next step, if nothing new arrives."""
        return bool(self._waiting) or any(job.done + 1 < job.steps for job in self._running)

    def step(self) -> list[Job]:
        """Give every running request one step, and return those that this finishes."""
        for job in self._running:
            job.done += 1
        finished = [job for job in self._running if job.done >= job.steps]
        self._running = [job for job in self._running if job.done < job.steps]
        return finished
