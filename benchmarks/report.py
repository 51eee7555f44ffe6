"""Figures gathered over interleaved runs, and the table that they are printed as."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from benchmarks import machine
from benchmarks.frames import DIALECT
from benchmarks.subjects import Subject, vllm_version


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    runs: int = 3
    engines: int = 64
    steps: int = 500
    """Lockstep steps in one round of the ingestion benchmark."""
    rates: tuple[int | None, ...] = (1_000, 5_000, 10_000, 20_000, 40_000, None)
    seconds: float = 6.0
    """How long each rate is held."""
    notices: int = 600
    viewers: int = 100
    crowd: int = 1_000
    """Viewers when there are many."""
    routing_rates: tuple[int, ...] = (1_000, 5_000, 10_000, 20_000)
    routing_seconds: float = 20.0
    """How long requests arrive."""
    vllm: bool = True
    """False leaves vLLM's loop out although it is installed."""

    def subjects(self) -> list[Subject]:
        """Whose coordinators can be measured here."""
        return [Subject.OURS, Subject.VLLM] if self.vllm and vllm_version() else [Subject.OURS]


SMOKE = Settings(
    runs=1,
    engines=4,
    steps=20,
    rates=(1_000, None),
    seconds=0.3,
    notices=5,
    viewers=3,
    crowd=6,
    routing_rates=(400,),
    routing_seconds=2.0,
    vllm=False,
)


@dataclass
class Figure:
    """One row: a value of each run, smaller is better unless told otherwise."""

    name: str
    unit: str
    target: str = ""
    digits: int = 1
    values: dict[Subject, list[float]] = field(default_factory=dict)
    note: dict[Subject, str] = field(default_factory=dict)
    """Said beside the value."""

    def add(self, subject: Subject, value: float) -> None:
        """Take in one run's value."""
        self.values.setdefault(subject, []).append(value)

    def cell(self, subject: Subject) -> str:
        """The median, with the range when there were several runs."""
        values = self.values.get(subject)
        if not values:
            return "not installed" if vllm_version() is None else "not measured"
        text = f"{median(values):,.{self.digits}f} {self.unit}"
        if len(values) > 1:
            text += f" ({min(values):,.{self.digits}f}-{max(values):,.{self.digits}f})"
        return f"{text} {self.note.get(subject, '')}".rstrip()

    def ratio(self) -> str:
        """Ours over vLLM's."""
        if len(self.values) < len(Subject) or not median(self.values[Subject.VLLM]):
            return "-"
        return f"{median(self.values[Subject.OURS]) / median(self.values[Subject.VLLM]):.2f}"


def table(figures: Iterable[Figure]) -> str:
    """The Markdown table, with the machine and the date above it."""
    version = vllm_version()
    lines = [
        f"Measured on {machine.describe()}; medians over interleaved runs, (lowest-highest); dialect {DIALECT}.",
        "",
        f"| figure | ours | {f'vLLM {version}' if version else 'vLLM'} | ours / vLLM | wanted |",
        "|---|---|---|---|---|",
    ]
    for figure in figures:
        cells = (figure.name, figure.cell(Subject.OURS), figure.cell(Subject.VLLM), figure.ratio(), figure.target)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def settings_from(arguments: argparse.Namespace) -> Settings:
    """The settings that the common options ask for."""
    base = SMOKE if arguments.smoke else Settings()
    changes = {name: value for name in ("runs", "engines") if (value := getattr(arguments, name)) is not None}
    return Settings(**(vars(base) | changes | {"vllm": base.vllm and not arguments.no_vllm}))


def options(description: str) -> argparse.ArgumentParser:
    """A parser with the options common to all benchmarks."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, help=f"runs of each, interleaved (default {Settings.runs})")
    parser.add_argument("--engines", type=int, help=f"engines (default {Settings.engines})")
    parser.add_argument("--no-vllm", action="store_true", help="leave vLLM's loop out although it is installed")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    return parser
