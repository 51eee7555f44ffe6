"""Every command with its flags, as tables. Importing this imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from dp_coordinator.alarms.detector import Thresholds
from dp_coordinator.cli import values as v
from dp_coordinator.cli.settings import Setting
from dp_coordinator.core.dialect import DEFAULT_VERSION

THRESHOLDS = Thresholds()


@dataclass(frozen=True, slots=True)
class Command:
    """One command: `run` names the module of this package and the function that carry it out."""

    name: str
    summary: str
    run: str
    settings: tuple[Setting, ...] | str
    """The flags, or the module and function that give them when the command is really asked for."""
    epilog: str | None = None


TOKEN = Setting(
    "--token",
    "the token itself; only as a variable, since everyone sees a command line",
    v.token,
    on_command_line=False,
)
TOKEN_FILE = Setting(
    "--token-file",
    "file that holds the coordinator's token; the variable DP_COORDINATOR_TOKEN can hold the token itself",
    v.token_in,
    metavar="FILE",
)
LOG_LEVEL = Setting("--log-level", "debug, info, warning or error; default info", v.log_level, "info", "LEVEL")
ENGINE_COUNT = Setting(
    "--engine-count", "the number of data-parallel ranks, such as 4", v.count, metavar="N", required=True
)
SUPERVISED = Setting(
    "--supervised", "keep the coordinator alive: when it dies it comes back with its wave", v.boolean, False
)

HTTP = (
    Setting(
        "--http",
        "where page, REST and metrics listen; default 127.0.0.1:8080, port 0 takes a free one",
        v.host_port,
        "127.0.0.1:8080",
        "HOST:PORT",
        excludes="--no-http",
    ),
    Setting("--no-http", "no web server at all", v.boolean, False),
    TOKEN_FILE,
    TOKEN,
    Setting(
        "--trust-network-without-token",
        "listen beyond this machine without a token: whoever reaches the port can start waves",
        v.boolean,
        False,
    ),
    Setting(
        "--allowed-host",
        "further name under which the page may be asked for; again for more",
        many=True,
        default=(),
        metavar="HOST",
    ),
    Setting(
        "--allowed-origin",
        "further origin whose pages may use this one; again for more",
        many=True,
        default=(),
        metavar="ORIGIN",
    ),
    Setting(
        "--stale-after-s", "age at which an engine's last report counts as stale; default 5", v.seconds, 5.0, "SECONDS"
    ),
)

SERVE_SETTINGS = (
    ENGINE_COUNT,
    *(
        Setting(f"--{name}-address", f"{what}; default a free TCP port of 127.0.0.1", v.zmq_address, metavar="ADDRESS")
        for name, what in (
            ("front-publish", "where front-ends connect, tcp://HOST:PORT or ipc://PATH"),
            ("back-output", "where engines send their outputs"),
            ("back-publish", "where engines hear READY and START_DP_WAVE"),
        )
    ),
    *HTTP,
    Setting(
        "--dialect",
        f"vLLM version whose frames are spoken; default {DEFAULT_VERSION}",
        v.version,
        DEFAULT_VERSION,
        "VERSION",
    ),
    Setting(
        "--min-stats-update-interval-ms",
        "milliseconds between load publications; default 100",
        v.milliseconds,
        100,
        "MS",
    ),
    Setting("--no-wave-coordination", "no waves, only load: for dense models", v.boolean, False),
    Setting(
        "--start-timeout",
        "end with exit code 3 when engines are still missing after this",
        v.seconds,
        metavar="SECONDS",
    ),
    Setting(
        "--manual-start-timeout",
        "time in which a manual start must be seen to be followed; default 5",
        v.seconds,
        5.0,
        "SECONDS",
    ),
    *(
        Setting(f"--alarm-{name}-s", f"alarm when {what}; default {default:g}", v.seconds, default, "SECONDS")
        for name, what, default in (
            ("not-stepping", "ranks are not seen to step for so long after START", THRESHOLDS.asked_not_stepping),
            (
                "silent",
                "a rank with 16 requests or more says nothing for so long, with fewer in proportion later",
                THRESHOLDS.rank_silent,
            ),
            ("imbalance", "a rank has far more requests than the others for so long", THRESHOLDS.load_imbalance),
            ("missing", "an engine or front-end is gone, or a restart not over, for so long", THRESHOLDS.missing),
        )
    ),
    SUPERVISED,
    Setting(
        "--hang-timeout",
        "with --supervised: kill a coordinator that gives no sign of life for so long, and start it again; default 10",
        v.seconds,
        10.0,
        "SECONDS",
    ),
    Setting(
        "--journal",
        "file by which a coordinator that is started again goes on with its wave and addresses; with --supervised "
        "default a temporary one",
        v.output_file,
        metavar="FILE",
    ),
    Setting("--record", "folder to which everything that enters the core is written", v.text, metavar="DIR"),
    Setting("--record-max-mb", "most that recordings may take up there; default 256", v.count, 256, "MB"),
    Setting("--endpoints-file", "write the real addresses there as JSON once bound", v.output_file, metavar="FILE"),
    LOG_LEVEL,
)
SERVE = Command(
    "serve",
    "run a coordinator",
    "serve:serve",
    SERVE_SETTINGS,
    epilog="Exit codes: 0 told to end by a signal, 1 the web server ended by itself, 2 a setting is wrong or an "
    "address is taken, 3 engines are missing, 4 it died again and again before it ever served (--supervised).",
)

CONNECTION = (
    Setting(
        "--url", "where the coordinator's page is; default http://127.0.0.1:8080", v.base_url, "http://127.0.0.1:8080"
    ),
    TOKEN_FILE,
    TOKEN,
    Setting("--json", "print what REST answers, for programs", v.boolean, False),
)
_CODES = "Exit codes: 0 done, 1 the coordinator said no, 2 wrong usage or no coordinator there."

REST_COMMANDS = (
    Command("state", "wave, phase, load and engines now", "rest_commands:state", CONNECTION, _CODES),
    Command("engines", "the engine table", "rest_commands:engines", CONNECTION, _CODES),
    Command("waves", "the newest waves", "rest_commands:waves", CONNECTION, _CODES),
    Command(
        "events",
        "the event log",
        "rest_commands:events",
        (
            *CONNECTION,
            Setting("--follow", "go on with what comes; with --json one event a line", v.boolean, False),
            Setting("--since", "events numbered above this; default the newest 100", v.index, metavar="SEQ"),
            Setting(
                "--kind", "only events of this kind; again for more", v.text, many=True, default=(), metavar="KIND"
            ),
            Setting("--limit", "at most this many at a time", v.count, metavar="N"),
        ),
        _CODES,
    ),
    Command(
        "top", "the page in a terminal, live; the state once where nothing can be drawn", "top:top", CONNECTION, _CODES
    ),
    Command(
        "start-wave",
        "start a wave by hand and tell what was observed",
        "rest_commands:start_wave",
        (
            *CONNECTION,
            Setting("--reason", "why, for the event log", v.text, metavar="TEXT", required=True),
            Setting("--expected-wave", "refuse unless this is the current wave", v.index, metavar="N"),
            Setting("--wave", "the wave to start; default the current one", v.index, metavar="N"),
            Setting(
                "--wait",
                "wait until every rank was seen stepping or the time is up (so it is anyway)",
                v.boolean,
                False,
                excludes="--no-wait",
            ),
            Setting("--no-wait", "only ask", v.boolean, False),
        ),
        "Exit codes: 0 observed (asked, with --no-wait), 1 refused or timed out, 2 wrong usage or no coordinator.",
    ),
)

DEMO = Command(
    "demo",
    "coordinator, simulated engines and front-ends on this machine, with the page",
    "simulated:demo",
    "simulated_flags:demo_settings",
)
ENGINE = Command("engine", "one simulated engine", "simulated:engine", "simulated_flags:engine_settings")
FRONT_END = Command("front-end", "one simulated front-end", "simulated:front_end", "simulated_flags:front_end_settings")

FILES = Setting("FILE", "recordings in their order, or a folder of them", v.recording, many=True, metavar="FILE")
ANY_VERSION = Setting("--any-version", "take recordings of other versions of dp-coordinator too", v.boolean, False)
REPLAY = Command(
    "replay",
    "run the core over a recording again and compare what comes out",
    "recordings:replay",
    (FILES, ANY_VERSION, Setting("--json", "print the outcome for programs", v.boolean, False)),
    "Exit codes: 0 no difference (perhaps only up to where a file was cut off), 1 a difference, 2 a file that cannot "
    "be used or is damaged.",
)

VIEW = Command(
    "view",
    "the page and REST on a recording instead of a running coordinator",
    "recordings:view",
    (
        FILES,
        Setting("--speed", "how much faster than it was, 0.1 to 64; default 1", v.speed, 1.0, "X"),
        ANY_VERSION,
        Setting(
            "--http",
            "where the page and REST listen; default 127.0.0.1:8081, port 0 takes a free one",
            v.host_port,
            "127.0.0.1:8081",
            "HOST:PORT",
        ),
        *HTTP[2:-1],
        LOG_LEVEL,
    ),
    "Exit codes: 0 ended by a signal, 2 a file that cannot be used, a wrong setting, or an address that is taken.",
)

COMMANDS = (SERVE, DEMO, *REST_COMMANDS, REPLAY, VIEW, ENGINE, FRONT_END)
