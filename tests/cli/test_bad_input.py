"""Whatever is wrong with the input: one sentence on stderr that says what would be right, exit code 2, no traceback."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.cli.run import run

SERVE = ("serve", "--engine-count", "2")
START = ("start-wave", "--reason", "why not")
ADDRESSES = tuple(f"--{name}-address=ipc:///never/never" for name in ("back-publish", "back-output", "request"))
ON_THE_LINE = [
    ((), "say which command: serve, demo, watch, state"),
    (("serv",), "there is no command 'serv'; serve is near it"),
    (("quux",), "there is no command 'quux'; there are serve, demo"),
    (("serve",), "--engine-count is needed (or DP_COORDINATOR_ENGINE_COUNT): the number of data-parallel ranks"),
    (("serve", "--engine-count", "0"), "--engine-count: '0' is not a whole number of at least 1, such as 4"),
    (("serve", "--engine-count", "-3"), "--engine-count: '-3' is not a whole number of at least 1"),
    (("serve", "--engine-count", "two"), "--engine-count: 'two' is not a whole number"),
    (("serve", "--engine-count", "99999"), "--engine-count: 99999 is out of bounds: use 1 to 16384"),
    (("serve", "--engine-count"), "argument --engine-count: expected one argument"),
    ((*SERVE, "--engin-count", "2"), "there is no --engin-count; --engine-count is near it"),
    ((*SERVE, "--engine", "2"), "there is no --engine"),
    ((*SERVE, "extra"), "'extra' is one argument too many"),
    ((*SERVE, "--http", "8080"), "--http: '8080' is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080"),
    ((*SERVE, "--http", "::1:8080"), "--http: '::1:8080' is not HOST:PORT"),
    ((*SERVE, "--http", "127.0.0.1:65536"), "--http: '127.0.0.1:65536' is not HOST:PORT"),
    ((*SERVE, "--http", "http://127.0.0.1:80"), "is not HOST:PORT"),
    ((*SERVE, "--http", "127.0.0.1:0", "--no-http"), "--http and --no-http exclude each other"),
    ((*SERVE, "--front-publish-address", "127.0.0.1:1"), "is not a ZeroMQ address such as tcp://127.0.0.1:5555"),
    ((*SERVE, "--back-output-address", "tcp://127.0.0.1:70000"), "is not a ZeroMQ address"),
    ((*SERVE, "--back-publish-address", "ipc://"), "is not a ZeroMQ address"),
    ((*SERVE, "--dialect", "banana"), "--dialect: 'banana' is not a vLLM version"),
    ((*SERVE, "--dialect", "0.9"), "--dialect: vLLM 0.9 is too old"),
    ((*SERVE, "--min-stats-update-interval-ms", "1.5"), "'1.5' is not a whole number of at least 0, such as 100"),
    (
        (*SERVE, "--min-stats-update-interval-ms", "600000"),
        "--min-stats-update-interval-ms: 600000 is out of bounds: use 0 to 60000",
    ),
    ((*SERVE, "--start-timeout", "0"), "--start-timeout: '0' is not a number of seconds above 0, such as 30 or 2.5"),
    ((*SERVE, "--start-timeout", "nan"), "--start-timeout: 'nan' is not a number of seconds"),
    ((*SERVE, "--manual-start-timeout", "inf"), "--manual-start-timeout: 'inf' is not a number of seconds"),
    ((*SERVE, "--start-timeout", "-1"), "--start-timeout: '-1' is not a number of seconds"),
    ((*SERVE, "--token-file", "/does/not/exist"), "--token-file: '/does/not/exist' cannot be read (No such file"),
    ((*SERVE, "--endpoints-file", "/does/not/exist"), "--endpoints-file: '/does/not/exist' cannot be written"),
    ((*SERVE, "--log-level", "loud"), "--log-level: 'loud' is no log level: use debug, info, warning or error"),
    ((*SERVE, "--token", "secret"), "there is no --token"),
    (("engine",), "--index is needed (or DP_COORDINATOR_INDEX)"),
    (("engine", "--index", "x"), "--index: 'x' is not a whole number of at least 0"),
    (
        ("engine", "--index=2", "--engine-count=2", "--collective=127.0.0.1:1", *ADDRESSES),
        "--index must be 0 to 1, not 2",
    ),
    (("front-end",), "--front-publish-address is needed (or DP_COORDINATOR_FRONT_PUBLISH_ADDRESS)"),
    (("demo", "--engines", "none"), "--engines: 'none' is not a whole number of at least 1"),
    (("demo", "--http", "here"), "--http: 'here' is not HOST:PORT"),
    (("state", "--url", "127.0.0.1:8080"), "is not the address of a coordinator, such as http://127.0.0.1:8080"),
    (("watch", "--tap", "tcp://127.0.0.1:0"), "--tap: 'tcp://127.0.0.1:0' names no port"),
    (("state", "--url", "http://[::"), "is not the address of a coordinator"),
    ((*SERVE, "--webhook", "http://[::"), "--webhook: it is not an address such as https://hooks.example.com/path"),
    ((*SERVE, "--webhook-secret-file", "/"), "--webhook-secret-file: '/' cannot be read (Is a directory)"),
    ((*SERVE, "--journal", "  "), "--journal: '  ' cannot be written: name a file"),
    ((*SERVE, "--scrape-file", "x" * 300), "cannot be a file here: File name too long"),
    (("state", "--url", "ftp://127.0.0.1"), "is not the address of a coordinator"),
    (("state", "--url", "http://127.0.0.1:port"), "is not the address of a coordinator"),
    (("state", "--url", "http://me:secret@127.0.0.1"), "a secret never goes into an address"),
    (("events", "--since", "-1"), "--since: '-1' is not a whole number of at least 0"),
    (("events", "--limit", "0"), "--limit: '0' is not a whole number of at least 1"),
    (("start-wave",), "--reason is needed (or DP_COORDINATOR_REASON): why, for the event log"),
    (("start-wave", "--reason", "  "), "--reason: nothing but blanks is not enough"),
    ((*START, "--wave", "next"), "--wave: 'next' is not a whole number of at least 0"),
    ((*START, "--expected-wave", "1.0"), "--expected-wave: '1.0' is not a whole number"),
    ((*START, "--wait", "--no-wait"), "--wait and --no-wait exclude each other"),
]
IN_A_VARIABLE = [
    (("serve",), {"DP_COORDINATOR_ENGINE_COUNT": "many"}, "DP_COORDINATOR_ENGINE_COUNT: 'many' is not a whole number"),
    (
        SERVE,
        {"DP_COORDINATOR_RECORD_MAX_MB": "7"},
        "DP_COORDINATOR_RECORD_MAX_MB: 7 is out of bounds: use 8 to 1048576",
    ),
    (SERVE, {"DP_COORDINATOR_START_TIMEOUT": "1e9"}, "DP_COORDINATOR_START_TIMEOUT: 1000000000.0 is out of bounds"),
    (SERVE, {"DP_COORDINATOR_HTTP": "8080"}, "DP_COORDINATOR_HTTP: '8080' is not HOST:PORT"),
    (SERVE, {"DP_COORDINATOR_NO_HTTP": "maybe"}, "DP_COORDINATOR_NO_HTTP: 'maybe' is neither true nor false"),
    (
        SERVE,
        {"DP_COORDINATOR_NO_HTTP": "1", "DP_COORDINATOR_HTTP": "127.0.0.1:0"},
        "DP_COORDINATOR_HTTP and DP_COORDINATOR_NO_HTTP exclude each other: set one of them",
    ),
    (SERVE, {"DP_COORDINATOR_DIALECT": "new"}, "DP_COORDINATOR_DIALECT: 'new' is not a vLLM version"),
    (SERVE, {"DP_COORDINATOR_TOKEN": "two words"}, "DP_COORDINATOR_TOKEN: the value holds no token"),
    (SERVE, {"DP_COORDINATOR_TOKEN_FILE": "/nowhere"}, "DP_COORDINATOR_TOKEN_FILE: '/nowhere' cannot be read"),
    (SERVE, {"DP_COORDINATOR_ALLOWED_HOST": ","}, "DP_COORDINATOR_ALLOWED_HOST: ',' names nothing"),
    (("state",), {"DP_COORDINATOR_URL": "here"}, "DP_COORDINATOR_URL: 'here' is not the address of a coordinator"),
    (("state",), {"DP_COORDINATOR_JSON": "yep"}, "DP_COORDINATOR_JSON: 'yep' is neither true nor false"),
    (("front-end",), {"DP_COORDINATOR_FRONT_PUBLISH_ADDRESS": "x"}, "DP_COORDINATOR_FRONT_PUBLISH_ADDRESS: 'x' is not"),
]


def assert_one_sentence(code: int, out: str, err: str, expected: str) -> None:
    assert code == 2
    assert out == ""
    assert expected in err
    assert err.startswith("dp-coordinator")
    assert len(err.splitlines()) == 1, err
    assert err.endswith(".\n")


@pytest.mark.parametrize(("arguments", "expected"), ON_THE_LINE)
def test_a_bad_flag_is_answered_with_one_sentence(arguments: tuple[str, ...], expected: str) -> None:
    done = run(*arguments)
    assert_one_sentence(done.returncode, done.stdout, done.stderr, expected)


@pytest.mark.parametrize(("arguments", "variables", "expected"), IN_A_VARIABLE)
def test_a_bad_variable_is_named(arguments: tuple[str, ...], variables: dict[str, str], expected: str) -> None:
    done = run(*arguments, variables=variables)
    assert_one_sentence(done.returncode, done.stdout, done.stderr, expected)


@pytest.mark.parametrize("content", [b"", b"  \n", b"two words", b"\xff\xfe", b"a" * 5000, b"line\nline"])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    done = run(*SERVE, "--token-file", str(file))
    assert_one_sentence(done.returncode, done.stdout, done.stderr, "holds no token: one line of printable ASCII")


def test_the_token_never_appears_in_a_complaint() -> None:
    done = run(*SERVE, variables={"DP_COORDINATOR_TOKEN": "s3cr3t with blanks"})
    assert "s3cr3t" not in done.stderr


@pytest.mark.parametrize("flag", ["--endpoints-file", "--llm-d-endpoints"])
def test_what_cannot_be_replaced_is_not_taken_away(tmp_path: Path, flag: str) -> None:
    """As root, `/dev/null` and `/dev/stdout` would be gone for the whole machine."""
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_text("a log")
    link.symlink_to(file)
    for path in (pipe, link):
        done = run(*SERVE, flag, str(path), "--http=127.0.0.1:0", "--start-timeout=0.1")
        assert_one_sentence(done.returncode, done.stdout, done.stderr, f"{flag}: '{path}' is no regular file")
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert link.is_symlink()
    assert file.read_text() == "a log"
