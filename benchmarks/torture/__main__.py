"""`python -m benchmarks.torture --minutes 60 --seed 7`: rounds of faults and hostile peers until the time is over.

Each round is told as it begins. The first finding ends it, with exit code 1 and the words that play the same rounds
again; `--round` plays a single one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from benchmarks import machine
from benchmarks.torture.faults import FAULTS
from benchmarks.torture.hostile import KINDS
from benchmarks.torture.rounds import DIALECTS, NONE, Outcome, Round, Torture, drawn
from benchmarks.torture.watch import Limits

ROUNDS_A_DEPLOYMENT = 60


def main() -> int:
    """Torture until the time is over or something is found; the exit code says which."""
    given = _parser().parse_args()
    limits = Limits(livez_s=given.livez_s, resident_mb=given.resident_mb)
    outcome, until = Outcome(), time.monotonic() + given.minutes * 60
    began = time.monotonic()
    for first, rounds in _deployments(given, until):
        with Torture(given.seed, first.dialect, limits, outcome) as torture:
            for round_ in rounds:
                told = f"round {round_.number}: {round_.fault}, {round_.hostile}, {round_.requests} requests"
                print(f"{time.monotonic() - began:7.1f} s  {told}", file=sys.stderr, flush=True)
                torture.play(round_)
                if torture.watch.seen.findings or time.monotonic() > until:
                    break
            torture.end()
        for finding in outcome.worst.findings:
            print(f"FOUND in round {round_.number} ({round_.fault}, {round_.hostile}): {finding}", file=sys.stderr)
        if outcome.worst.findings:
            print(f"again: {_again(given, round_)}", file=sys.stderr)
            break
    print(_table(given, outcome, time.monotonic() - began))
    return int(bool(outcome.worst.findings))


def _deployments(given: argparse.Namespace, until: float) -> Iterator[tuple[Round, Iterator[Round]]]:
    """Deployments one after the other, each with its rounds: a new one now and then, of another vLLM generation."""
    faults = [name for name in FAULTS if name not in given.without and (not given.fault or name in given.fault)]
    kinds = [NONE, *KINDS]
    hostile = [name for name in kinds if name not in given.without and (not given.hostile or name in given.hostile)]

    def round_(number: int) -> Round:
        dialect = DIALECTS[(given.seed + number // ROUNDS_A_DEPLOYMENT) % len(DIALECTS)]
        return drawn(given.seed, number, dialect, faults, hostile)

    if given.round is not None:
        yield round_(given.round), iter([round_(given.round)])
        return
    number = 0
    while time.monotonic() < until:
        yield round_(number), (round_(number + offset) for offset in range(ROUNDS_A_DEPLOYMENT))
        number += ROUNDS_A_DEPLOYMENT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other rounds (default 1)")
    parser.add_argument("--round", type=int, help="play this round alone")
    parser.add_argument("--fault", choices=FAULTS, action="append", default=[], help="these faults only")
    parser.add_argument("--hostile", choices=[NONE, *KINDS], action="append", default=[], help="these peers only")
    names = [*FAULTS, NONE, *KINDS]
    parser.add_argument("--without", choices=names, action="append", default=[], help="leave one out; may be repeated")
    parser.add_argument("--livez-s", type=float, default=Limits.livez_s, help="/livez must answer in so many seconds")
    parser.add_argument("--resident-mb", type=float, default=Limits.resident_mb, help="most resident memory, in MB")
    return parser


def _again(given: argparse.Namespace, round_: Round) -> str:
    tables = [(f"--{name}", value) for name in ("fault", "hostile", "without") for value in getattr(given, name)]
    words = " ".join(f"{flag} {value}" for flag, value in tables)
    command = f"python -m benchmarks.torture --seed {given.seed} {words}".rstrip()
    return f"{command} --minutes {given.minutes:g} (or --round {round_.number})"


def _table(given: argparse.Namespace, outcome: Outcome, seconds: float) -> str:
    accounts, worst = outcome.accounts, outcome.worst
    messages = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.messages.items()) if count)
    rows = {
        "time, rounds": f"{seconds / 60:.1f} min, {outcome.rounds}",
        "faults": ", ".join(f"{count} {fault}" for fault, count in sorted(outcome.faults.items())),
        "hostile peers": ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.hostile.items())),
        "messages of theirs": messages or "none",
        "requests sent, finished, lost, stranded": (
            f"{accounts.sent}, {accounts.finished}, {accounts.lost}, {accounts.stranded}"
        ),
        "waves started or set by hand, as the manual says": str(accounts.by_hand),
        "longest until /livez answered": f"{worst.livez_s:.2f} s",
        "longest without a publication": f"{worst.silence_s:.1f} s",
        "most resident memory": f"{worst.resident_mb:.0f} MB",
        "findings": "; ".join(worst.findings) or "none",
    }
    lines = [f"Measured on {machine.describe()}; seed {given.seed}.", "", "| torture | |", "|---|---|"]
    return "\n".join(lines + [f"| {name} | {value} |" for name, value in rows.items()])


if __name__ == "__main__":
    sys.exit(main())
