"""`python -m benchmarks`: everything that the README's figures come from, as one Markdown table."""

from __future__ import annotations

import sys

from benchmarks import (
    ingestion,
    loading,
    many_viewers,
    publication_gaps,
    rejoining,
    start_latency,
    start_up,
    under_vllm,
)
from benchmarks.report import Figure, options, settings_from, table
from benchmarks.routing import fresh_load
from benchmarks.soak import soak
from benchmarks.subjects import VLLM_PYTHON_VARIABLE, vllm_version

BENCHMARKS = {
    "ingestion": ingestion.measure,
    "publication_gaps": publication_gaps.measure,
    "start_latency": start_latency.measure,
    "many_viewers": many_viewers.measure,
    "start_up": start_up.measure,
    "loading": loading.measure,
    "rejoining": rejoining.measure,
    "under_vllm": under_vllm.measure,
    "fresh_load": fresh_load.measure,
}


def main() -> None:
    """Run what was asked for, tell progress on stderr, print the table."""
    parser = options(__doc__)
    parser.add_argument("--only", choices=BENCHMARKS, action="append", help="this one only; may be repeated")
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="the demo's memory over so many minutes instead")
    parser.add_argument("--need-vllm", action="store_true", help="an error, and no table, when vLLM is not there")
    arguments = parser.parse_args()
    if arguments.need_vllm and vllm_version() is None:
        parser.error(f"no Python with vLLM: {VLLM_PYTHON_VARIABLE} names one")
    if arguments.soak is not None:
        print(soak(arguments.soak))
        return
    settings = settings_from(arguments)
    figures: list[Figure] = []
    for name in arguments.only or BENCHMARKS:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        figures += BENCHMARKS[name](settings)
    print(table(figures))


if __name__ == "__main__":
    main()
