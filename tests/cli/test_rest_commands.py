"""What the rest_commands of REST print for people and programs, and their exit codes."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from dp_coordinator.messages import EnginePage, EnginePeer, Recovery
from tests.cli.canned import (
    ASKED,
    ENGINES,
    EVENTS,
    FRESH,
    NEVER,
    OBSERVED,
    STATE,
    TIMED_OUT,
    WAVES,
    Canned,
    canned,
    page,
    problem,
)
from tests.cli.run import rest, run, running

START = ("start-wave", "--reason", "test")


def ask(server: Canned, *arguments: str) -> tuple[int, str, str]:
    done = run(*arguments, "--url", server.url, variables={"TZ": "UTC"})
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_state_for_people() -> None:
    with canned(get_state=STATE) as server:
        code, out, err = ask(server, "state")
    assert (code, err) == (0, "")
    assert out.splitlines()[:9] == [
        "state         Wave 6 is starting, asked 300 ms ago; joined by rank 0",
        "engines       2 of 2 subscribed",
        "front-ends    1",
        "waiting       3",
        "running       8",
        "manual start  blocked: wave 6 is starting",
        "dialect       vLLM 0.33, wave coordination on",
        "up for        1 h 6 min, state 10 ms old",
        "restarts      none (process 4711)",
    ]
    assert out.splitlines()[10:] == [
        "rank  status   waiting  running  kv cache  wave  step  last report  restarts",
        "   0  working        3        8     42.1%     6    17   120 ms ago         1",
        "   1  never          -        -         -     -     -        never         0",
    ]


def test_a_start_that_is_possible_and_engines_that_are_missing_are_said() -> None:
    paused = msgspec.structs.replace(STATE, start_blocked=None, ready=False)
    with canned(get_state=paused) as server:
        _, out, _ = ask(server, "state")
    assert "2 of 2 subscribed, not ready yet" in out
    assert "manual start  possible" in out


def test_a_restart_and_how_far_its_recovery_has_got() -> None:
    recovery = Recovery("rejoining", 6, 1000.25, 1, 2, None, "Recovering: 1 of 2 engines are back")  # type: ignore[arg-type]
    state = msgspec.structs.replace(STATE, restarts=2, uptime_s=3.0, recovery=recovery)
    with canned(get_state=state) as server:
        code, out, _ = ask(server, "state")
    assert code == 0
    lines = out.splitlines()
    assert "restarts      2, the last 3.00 s ago (process 4711)" in lines
    assert "recovery      Recovering: 1 of 2 engines are back, at 00:16:40.250" in lines


def test_numbers_that_nobody_reported_are_not_zero() -> None:
    unknown = msgspec.structs.replace(STATE, totals=msgspec.structs.replace(STATE.totals, waiting=None, running=None))
    with canned(get_state=unknown) as server:
        _, out, _ = ask(server, "state")
    assert out.count("no engine has reported yet") == 2


def test_engines_for_people_tell_where_each_one_is() -> None:
    there = EnginePeer("pid 2918 VLLM\x1b[31m", "ipc", "", 2918, "VLLM\x1b[31m", 900.0, None, None)
    was = EnginePeer("10.0.0.7:51234", "10.0.0.7:51234", "10.0.0.7", None, "", 900.0, 1000.25, "timed out")
    page = EnginePage([replace(FRESH, peer=there), replace(NEVER, peer=was), replace(NEVER, index=2)])
    with canned(get_engines=page) as server:
        code, out, err = ask(server, "engines")
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert [line[head.index("place") :] for line in (head, *rows)] == [
        "place",
        "pid 2918 VLLM\\x1b[31m",
        "10.0.0.7:51234: timed out, 00:16:40.250",
        "-",
    ]


def test_waves_for_people() -> None:
    with canned(get_waves=WAVES) as server:
        code, out, _ = ask(server, "waves")
    assert code == 0
    heads, open_wave, completed = (re.split(r"  +", line.strip()) for line in out.splitlines())
    assert heads == [
        *("wave", "state", "started by", "asked", "started", "ended", "lasted", "peak waiting", "peak running"),
    ]
    assert open_wave == [
        *("6", "open", "engine (rank 0)", "00:16:40.500", "00:16:40.600", "-", "1 min 15 s", "3", "8"),
    ]
    assert completed == [
        *("5", "completed", "manual", "00:15:00.000", "-", "00:16:30.000", "1 min 30 s", "0", "2"),
    ]


def test_no_wave_yet() -> None:
    with canned(get_waves={"waves": []}) as server:
        assert ask(server, "waves") == (0, "no wave has been seen yet\n", "")


@pytest.mark.parametrize(("command", "answer"), [("state", STATE), ("engines", ENGINES), ("waves", WAVES)])
def test_json_is_what_rest_answers(command: str, answer: object) -> None:
    body = msgspec.json.encode(answer)
    with canned(**{f"get_{command}": body}) as server:
        assert ask(server, command, "--json") == (0, body.decode() + "\n", "")


def test_events_are_printed_once() -> None:
    with canned(**{"get_events": page(1, 2, 3, last=3)}) as server:
        code, out, err = ask(server, "events")
    assert code == 0
    assert out.splitlines()[0] == "     1  00:16:41.000  wave_asked                START for wave 1 broadcast, by hand"
    assert len(out.splitlines()) == 3
    assert err == ""


def test_events_are_read_page_by_page() -> None:
    pages = {
        "get_events?since=0&kind=a&kind=b": page(1, last=3, next_since=2, truncated=True),
        "get_events?since=2&kind=a&kind=b": page(3, last=3),
    }
    with canned(**pages) as server:
        code, out, err = ask(server, "events", "--since", "0", "--kind", "a", "--kind", "b")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["1", "3"]
    assert err == "dp-coordinator events: some events after number 0 are no longer held\n"


def test_events_are_asked_for_as_said() -> None:
    with canned(**{"get_events?since=1&kind=wave_asked&limit=2": page(2, 3, last=3)}) as server:
        code, out, _ = ask(server, "events", "--since", "1", "--kind", "wave_asked", "--limit", "2", "--json")
    assert code == 0
    assert [event["seq"] for event in json.loads(out)["events"]] == [2, 3]


def test_text_in_events_cannot_steer_the_terminal() -> None:
    nasty = msgspec.structs.replace(EVENTS[0], kind="\x1b[3J", text="\x1b[2Jgone\nwave 9")
    with canned(
        **{"get_events": {"events": [nasty], "next_since": 1, "last_seq": 1, "truncated": False, "started_at": 1.0}}
    ) as s:
        _, out, _ = ask(s, "events")
    assert "\x1b" not in out
    assert len(out.splitlines()) == 1


def test_events_follow_through_a_restart_of_the_coordinator() -> None:
    """Also one that has logged more than its earlier incarnation had, by the time it is asked."""
    answers = {
        "get_events": page(1, 2, last=2),
        "get_events?since=2": [page(last=2), page(3, last=3, started_at=950.0), page(last=3, started_at=950.0)],
        "get_events?since=0": page(1, 2, last=2, started_at=950.0),
    }
    with canned(**answers) as server, running("events", "--follow", "--json", "--url", server.url) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        seen = [json.loads(process.stdout.readline())["seq"] for _ in range(4)]
        assert seen == [1, 2, 1, 2]
        assert "the coordinator was restarted; its event numbers begin again" in process.stderr.readline()


def test_events_follow_a_coordinator_that_is_away() -> None:
    with canned(**{"get_events": page(1, last=1), "get_events?since=1": page(2, last=2)}) as server:
        server.mute("get_events?since=1", times=2)
        with running("events", "--follow", "--json", "--url", server.url) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert [json.loads(process.stdout.readline())["seq"] for _ in range(2)] == [1, 2]
            assert process.stderr.readline() == "dp-coordinator events: the coordinator does not answer; trying on\n"
            assert len(server.asked["GET /api/v1/events?since=1"]) >= 3


def test_a_closed_pipe_ends_following_quietly() -> None:
    again_and_again = {"get_events": page(1, last=1, next_since=0), "get_events?since=0": page(1, last=1, next_since=0)}
    with canned(**again_and_again) as server, running("events", "--follow", "--url", server.url) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(30) == 141
        assert rest(process.stderr) == ""


def test_start_wave_tells_what_was_observed() -> None:
    answers = {"post_waves": (202, ASKED), "get_actions/a1-1": [ASKED, ASKED, OBSERVED]}
    with canned(**answers) as server:
        code, out, err = ask(server, *START, "--expected-wave", "6")
        headers, body = server.asked["POST /api/v1/waves"][0]
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "wave 6 asked for; waiting until a step is confirmed",
        "wave 6: both ranks step after 0.25 s",
        "  rank 1: joined after 100 ms",
        "  rank 0: joined after 250 ms",
    ]
    assert json.loads(body) == {"reason": "test", "expected_wave": 6, "wave": None}
    assert len(headers["Idempotency-Key"]) >= 16


def test_start_wave_that_times_out() -> None:
    with canned(**{"post_waves": (202, ASKED), "get_actions/a1-1": TIMED_OUT}) as server:
        code, out, _ = ask(server, *START)
    assert code == 1
    assert out.splitlines()[-1] == "  silent: rank 1"


def test_start_wave_in_json_is_the_last_state_of_the_action() -> None:
    with canned(**{"post_waves": (202, ASKED), "get_actions/a1-1": OBSERVED}) as server:
        code, out, _ = ask(server, *START, "--json")
    assert code == 0
    assert msgspec.json.decode(out, type=type(OBSERVED)) == OBSERVED


def test_start_wave_without_waiting() -> None:
    with canned(post_waves=(202, ASKED)) as server:
        code, out, _ = ask(server, *START, "--no-wait")
        assert list(server.asked) == ["POST /api/v1/waves"]
    assert code == 0
    assert "/api/v1/actions/a1-1" in out


@pytest.mark.parametrize("status", [409, 422, 429, 503])
def test_start_wave_refused(status: int) -> None:
    with canned(post_waves=problem(status, "the engines are running wave 6")) as server:
        assert ask(server, *START) == (1, "", "dp-coordinator start-wave: refused: the engines are running wave 6.\n")
        code, out, _ = ask(server, *START, "--json")
    assert code == 1
    assert json.loads(out)["status"] == status


@pytest.mark.parametrize("command", ["state", "events"])
def test_a_refusal_of_a_look(command: str) -> None:
    answer = problem(403, "this name is not allowed")
    with canned(**{"get_state": answer, "get_events": answer}) as server:
        assert ask(server, command) == (1, "", f"dp-coordinator {command}: refused: this name is not allowed.\n")


def test_nobody_there() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # nobody else gets this port, and nobody listens
        port = silent.getsockname()[1]
        done = run("state", "--url", f"http://127.0.0.1:{port}")
    assert done.returncode == 2
    assert done.stderr == (
        f"dp-coordinator state: no coordinator answers at http://127.0.0.1:{port} (Connection refused); "
        "say with --url where one runs.\n"
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, b"<html>"), "answered HTTP 404: is that the address of a coordinator?"),
        ((302, b""), "answered HTTP 302: is that the address of a coordinator?"),
        (b"<html>", "does not answer as a coordinator of this version does"),
        (b'{"current_wave": 1}', "does not answer as a coordinator of this version does"),
        ((401, b"{}"), "it wants a token; name the right one with --token-file"),
    ],
)
def test_something_else_there(answer: object, said: str) -> None:
    with canned(get_state=answer) as server:
        code, out, err = ask(server, "state")
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_token_travels_in_a_header_only(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cr3t\n")
    with canned(get_state=STATE) as server:
        assert ask(server, "state", "--token-file", str(tmp_path / "token"))[0] == 0
        assert (
            run("state", variables={"DP_COORDINATOR_URL": server.url, "DP_COORDINATOR_TOKEN": "other"}).returncode == 0
        )
        sent = [headers["Authorization"] for headers, _ in server.asked["GET /api/v1/state"]]
    assert sent == ["Bearer s3cr3t", "Bearer other"]
