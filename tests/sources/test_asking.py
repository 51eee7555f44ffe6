"""Targets that answer as they should, and in every other way: each is shown as its own, and nothing else suffers."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from dp_coordinator.sources import asking as module
from dp_coordinator.sources import vllm
from dp_coordinator.sources.prometheus_text import UsefulLines
from dp_coordinator.words import DeploymentState, RankCondition, SourceKind, TargetState
from tests.sources.standin import Raw, answer, api_server, asking, loads, metrics, never


async def test_ranks_by_their_labels_whatever_the_order() -> None:
    async with (
        api_server(metrics(1, running=3, waiting=2, usage=0.25)) as far,
        api_server(metrics(0, running=1)) as near,
        asking(far.url, near.url) as rig,
    ):
        await rig.until(lambda: rig.seen.engines.running == (1, 3))
        assert rig.seen.engines.waiting == (0, 2)
        assert rig.seen.engines.kv_cache_usage == (0.0, 0.25)
        assert (rig.seen.waiting, rig.seen.running) == (2, 4)
        assert [origin and origin.target for origin in rig.seen.provenance] == [near.url, far.url]
        assert rig.seen.state is DeploymentState.SERVING


async def test_one_api_server_for_all_ranks() -> None:
    async with api_server(*(metrics(rank, running=rank) for rank in range(4))) as server, asking(server.url) as rig:
        await rig.until(lambda: rig.seen.engines.running == (0, 1, 2, 3))


async def test_instances_of_their_own_in_the_order_of_targets() -> None:
    async with (
        api_server(metrics(0, running=1)) as first,
        api_server(metrics(0, running=2)) as second,
        asking(first.url, second.url) as rig,
    ):
        await rig.until(lambda: rig.seen.engines.running == (1, 2))
        assert rig.seen.sources is not None
        assert rig.seen.sources.independent


async def slowly(writer: asyncio.StreamWriter) -> None:
    """A byte now and then: the whole takes longer than it may."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"#")
        await writer.drain()
        await asyncio.sleep(0.05)


async def ten_megabytes(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
    for _ in range(10_000):
        writer.write(b"vllm:of_no_use 1\n" * 58 + b"#" * 13 + b"\n")
        await writer.drain()


async def half_a_line(writer: asyncio.StreamWriter) -> None:
    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nvllm:num_requests_running{engine="0"')
    await writer.drain()
    writer.close()


async def no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await writer.drain()
    writer.close()


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()


BAD: dict[str, tuple[bytes | Raw, TargetState, str]] = {
    "slowly": (slowly, TargetState.SILENT, "no answer within 1 s"),
    "never": (never, TargetState.SILENT, "no answer within 1 s"),
    "closed": (closed, TargetState.SILENT, "the connection was closed before an answer came"),
    "half a line": (half_a_line, TargetState.SILENT, "the answer was cut off"),
    "ten megabytes": (ten_megabytes, TargetState.UNUSABLE, "the answer has more than 8 MiB"),
    "no http": (no_http, TargetState.UNUSABLE, "what it speaks is no HTTP"),
    "html": (answer("<!doctype html><p>Sign in"), TargetState.UNUSABLE, "HTML came where metrics should be"),
    "empty": (answer(""), TargetState.UNUSABLE, "an empty page"),
    "another program": (answer("go_goroutines 7\n"), TargetState.UNUSABLE, "the metrics are of no engine"),
    "other labels": (
        answer('vllm:num_requests_running{engine="the first"} 1\n'),
        TargetState.UNUSABLE,
        "it tells of an engine 'the first': that is no rank",
    ),
    "far too many": (answer(metrics(10**9)), TargetState.UNUSABLE, "that is no rank"),
    "no numbers": (
        answer('vllm:num_requests_running{engine="0"} many\n'),
        TargetState.UNUSABLE,
        "what came is no Prometheus text",
    ),
    "a wrong token": (answer("no", 401), TargetState.UNUSABLE, "it wants a token, or another one (HTTP 401)"),
    "a redirect": (
        answer("", 302, Location="http://127.0.0.1:1/login"),
        TargetState.UNUSABLE,
        "it redirects to 'http://127.0.0.1:1/login' (HTTP 302), which is not followed",
    ),
    "a fault": (answer("oops", 500), TargetState.UNUSABLE, "it answers with HTTP 500"),
    "compressed": (answer(b"\x1f\x8b", Content_Encoding="gzip"), TargetState.UNUSABLE, "the answer is compressed"),
    "no content": (answer("", 204), TargetState.UNUSABLE, "it answers with HTTP 204"),
    "bad chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\nabc",
        TargetState.UNUSABLE,
        "what it speaks is no HTTP",
    ),
    "a number that is none": (
        answer('vllm:num_requests_running{engine="0"} 1_0\n'),
        TargetState.UNUSABLE,
        "what came is no Prometheus text: Invalid value: '1_0'",
    ),
    "not found": (answer("", 404), TargetState.UNUSABLE, "there is no such route (HTTP 404)"),
}


@pytest.mark.parametrize("how", BAD)
async def test_a_bad_answer_is_shown_by_its_target_and_nothing_else_suffers(how: str) -> None:
    given, state, problem = BAD[how]
    async with (
        api_server(metrics(0, running=1)) as good,
        api_server(metrics(1, running=5)) as bad,
        asking(good.url, bad.url) as rig,
    ):
        await rig.until(lambda: rig.seen.engines.running == (1, 5))
        bad.routes["/metrics"] = given
        await rig.until(lambda: problem in str(rig.target(bad.url).problem))
        assert rig.target(bad.url).state is state
        assert rig.target(bad.url).ranks == (1,)
        assert rig.seen.running == 1, "what it told last is in no sum"
        assert rig.seen.engines.running == (1, 5)
        good.tells(metrics(0, running=2))
        await rig.until(lambda: rig.seen.running == 2)
        bad.tells(metrics(1, running=4))
        await rig.until(lambda: rig.seen.running == 6)
        assert rig.target(bad.url).problem is None


async def test_nobody_listens() -> None:
    async with (
        api_server(metrics(0, running=1)) as good,
        api_server(metrics(1, running=5)) as other,
        asking(good.url, other.url) as rig,
    ):
        await rig.until(lambda: rig.seen.running == 6)
        other.close()
        await rig.until(lambda: rig.target(other.url).problem == "no connection: connection refused")
        assert rig.target(other.url).state is TargetState.SILENT
        assert rig.seen.running == 1
        async with api_server(metrics(1, running=7), port=other.port):
            await rig.until(lambda: rig.seen.running == 8)


async def test_those_that_are_stuck_do_not_delay_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 2)
    async with api_server(metrics(0, running=1)) as good, AsyncExitStack() as stack:
        stuck = [await stack.enter_async_context(api_server()) for _ in range(6)]
        for server in stuck:
            server.routes["/metrics"] = never
        async with asking(good.url, *(server.url for server in stuck), scrape_timeout=3.0) as rig:
            await rig.until(lambda: rig.seen.running == 1)
            await rig.until(lambda: any(server.asked for server in stuck))
            before = len(good.asked)
            await rig.until(lambda: len(good.asked) >= before + 4)  # while the first two are stuck
            assert sum(bool(server.asked) for server in stuck) == 2, "at most so many at once"


async def test_a_rank_that_moves_to_another_target() -> None:
    async with (
        api_server(metrics(0, running=1)) as one,
        api_server(metrics(1, running=2)) as other,
        asking(one.url, other.url) as rig,
    ):
        await rig.until(lambda: rig.seen.engines.running == (1, 2))
        other.tells(metrics(3, running=2))
        await rig.until(lambda: rig.seen.engines.running == (1, None, None, 2))
        assert "source_moved" in [entry.kind for entry in rig.watched.mailbox.log.since(0)]


async def test_two_that_tell_of_one_rank() -> None:
    async with (
        api_server(metrics(0, running=1)) as one,
        api_server(metrics(1, running=2)) as other,
        asking(one.url, other.url) as rig,
    ):
        await rig.until(lambda: rig.seen.engines.running == (1, 2))
        other.tells(metrics(0, running=9), metrics(2, running=9))
        await rig.until(lambda: rig.target(other.url).state is TargetState.UNUSABLE)
        assert rig.target(other.url).problem == f"{one.url} tells of the same ranks"
        assert rig.seen.engines.running[0] == 1


async def test_scaling_is_not_gone() -> None:
    async with api_server(metrics(0, running=1)) as server, asking(server.url) as rig:
        await rig.until(lambda: rig.seen.running == 1)
        server.routes["/metrics"] = answer('{"error": "The model is currently scaling. Please try again later."}', 503)
        await rig.until(lambda: RankCondition.SCALING in rig.rank(0).conditions)
        server.tells(metrics(0, running=2))
        await rig.until(lambda: not rig.rank(0).conditions)


async def test_what_else_a_server_says_of_its_ranks() -> None:
    async with api_server(metrics(0), metrics(1)) as server:
        server.routes |= {
            "/is_paused": answer('{"is_paused": true}'),
            "/fault_tolerance/status": answer(
                '{"engines": [{"id": 0, "status": "healthy"}, {"id": 1, "status": "dead", "fault_info": "a crash"}]}'
            ),
            "/is_scaling_elastic_ep": answer('{"is_scaling_elastic_ep": false, "phase": "idle"}'),
            "/health": answer("", 503),
        }
        async with asking(server.url) as rig:
            await rig.until(lambda: len(rig.rank(1).conditions) == 2)
            assert {kind: told.value for kind, told in rig.rank(0).conditions.items()} == {
                RankCondition.DEAD: "its health check fails: it answers with HTTP 503",
                RankCondition.PAUSED: "by hand",
            }
            assert rig.rank(1).conditions[RankCondition.DEAD].value == "a crash"
        heads = [head.splitlines()[0] for head in server.asked]
        assert "POST /is_scaling_elastic_ep HTTP/1.1" in heads


async def test_sglang_by_a_stand_in() -> None:
    ranks = [
        {"dp_rank": 1, "num_running_reqs": 4, "num_waiting_reqs": 1, "token_usage": 0.5, "timestamp": 990.0},
        {"dp_rank": 0, "num_running_reqs": 2, "num_waiting_reqs": 0, "token_usage": 0.25},
    ]
    async with api_server() as server, asking(server.url) as rig:
        server.routes["/v1/loads?include=core"] = loads(*ranks, at=1000.0)
        await rig.until(lambda: rig.seen.engines.running == (2, 4))
        assert rig.target(server.url).kind is SourceKind.SGLANG
        running = [rig.rank(rank).running for rank in (0, 1)]
        assert running[0] is not None
        assert running[1] is not None
        assert running[0].at - running[1].at == pytest.approx(10.0), "ages are by the engine's own clock"
        assert rig.rank(0).heartbeat is None, "it was not started with --enable-metrics"
        server.routes["/v1/loads?include=core"] = answer('{"loads": [{"dp_rank": -1}]}')
        await rig.until(lambda: rig.target(server.url).state is TargetState.UNUSABLE)


async def test_sglang_counts_the_tokens_of_each_step() -> None:
    def page(*made: int) -> bytes:
        line = 'sglang:realtime_tokens_total{{dp_rank="{}",mode="{}",tp_rank="{}"}} {}.0\n'
        lines = (line.format(rank, mode, 2 * rank, n) for rank, n in enumerate(made) for mode in ("decode", "prefill"))
        return answer("# HELP sglang:realtime_tokens_total Tokens.\n" + "".join(lines))

    async with api_server() as server:
        ranks = [{"dp_rank": rank, "num_running_reqs": 1, "num_waiting_reqs": 0} for rank in (0, 1)]
        server.routes |= {"/v1/loads?include=core": loads(*ranks), "/metrics": page(5, 7)}
        async with asking(server.url) as rig:
            await rig.until(lambda: rig.rank(1).heartbeat)
            first = rig.rank(0).heartbeat, rig.rank(1).heartbeat
            assert [beat and (beat.value, beat.unit) for beat in first] == [(10, "tokens"), (14, "tokens")]
            server.routes["/metrics"] = page(6, 7)
            await rig.until(lambda: rig.rank(0).heartbeat != first[0])
            await rig.until(lambda: (beat := rig.rank(0).heartbeat) and beat.value == 12 and beat.grew_after)
            stands = rig.rank(1).heartbeat
            assert stands is not None
            assert (stands.value, stands.grew_after) == (14, None)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('{engine="0"} 5', 5),
        ('{engine="0"} 5.0 1700000000000', 5),
        ('{engine="0"} 5 # {a="}"} 7', 5),
        ('{engine="0",model_name="a} 6 # {"}   +5e0  ', 5),
        ('{engine="0",model_name="a\\\\\\"} 6"} 5\r', 5),
        (" 5", 5),
        ('{engine="0"} 99999999999999999999', None),
        ('{engine="0"} ' + 9 * "9999", None),
        ('{engine="0"} -5', None),
        ('{engine="0"} NaN', None),
        ('{engine="0"} +Inf', None),
        ('{engine="0"} 1e400', None),
    ],
)
def test_a_line_with_a_number(line: str, value: int | None) -> None:
    lines = UsefulLines(vllm.OF_USE)
    names = ("vllm:num_requests_running", "vllm:generation_tokens_total", "vllm:num_requests_waiting 3")
    lines.feed("".join(f"{name}{line if name[-1] != '3' else ''}\n" for name in names).encode())
    (sample,) = vllm.metrics(lines).samples
    assert (sample.running, sample.waiting) == (value, 3)
    assert sample.beat == value, "what cannot be seen to grow accuses nobody"
