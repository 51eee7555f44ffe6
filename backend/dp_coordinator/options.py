"""What a coordinator can be told: each setting has its type, default, bounds, flags and help here and nowhere else.

Command line, environment, child process, Python handle, vLLM plugin and docs/settings.md are made of these classes
(see `settings`). A setting is added by a field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

from dp_coordinator import values as v
from dp_coordinator.core.dialect import DEFAULT_VERSION
from dp_coordinator.hosts import HostName, HttpPorts, NetworkAddress, Origin, ScrapeTarget
from dp_coordinator.settings import Flag
from dp_coordinator.supervised import HANG_TIMEOUT_LEAST_S, HANG_TIMEOUT_S
from dp_coordinator.urls import BaseUrl, Name, Peers, WebAddress, WebhookFormat

ANY_LOCAL_PORT = "tcp://127.0.0.1:*"
DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_HTTP = "127.0.0.1:8080-8099"

LogLevel: TypeAlias = Annotated[str, v.Kind(v.log_level, "LEVEL", v.log_level)]
HangTimeout: TypeAlias = Annotated[float, v.Kind(v.seconds, "SECONDS", v.between(HANG_TIMEOUT_LEAST_S, 86_400))]
ParentPid: TypeAlias = Annotated[int | None, v.Kind(v.count), Flag(for_people=False)]
Token: TypeAlias = Annotated[
    str | None,
    v.Kind(v.token),
    Flag(
        "--token-file",
        "file that holds the coordinator's token; the variable DP_COORDINATOR_TOKEN can hold the token itself",
        v.Kind(v.token_in, "FILE"),
    ),
    Flag(help="the token itself; only as a variable, since everyone sees a command line", on_command_line=False),
]


@dataclass(frozen=True)
class Deployment:
    """Whose coordinator it is: another incarnation goes on with the wave only where these are the same."""

    engine_count: Annotated[int, v.Kind(v.count, "N", v.between(1, 16_384))]
    """The number of data-parallel ranks, such as 4; so many engines must subscribe before READY."""
    dialect: v.Version = DEFAULT_VERSION
    """The vLLM version whose frames are spoken."""
    wave_coordination: Annotated[
        v.Switch, Flag("--no-wave-coordination", "no waves, only load: for dense models", means=False)
    ] = True
    front_publish_address: v.ZmqAddress = ANY_LOCAL_PORT
    """Where front-ends connect, tcp://HOST:PORT or ipc://PATH; port * takes a free one."""
    back_output_address: v.ZmqAddress = ANY_LOCAL_PORT
    """Where engines send their outputs."""
    back_publish_address: v.ZmqAddress = ANY_LOCAL_PORT
    """Where engines hear READY and START_DP_WAVE."""


@dataclass(frozen=True)
class AccessOptions:
    """Who may use the page, REST and metrics."""

    token: Annotated[str | None, v.Kind(v.token), Flag(on_command_line=False)] = field(default=None, repr=False)
    """The token itself, only as a variable, since everyone sees a command line: whoever presents it may read and start
    waves; None lets everyone who can reach the address."""
    token_file: v.TokenFile | None = None
    """File that holds the token, and is read again when it changes; it goes before the variable that holds the token
    itself."""
    trust_network_without_token: v.Switch = False
    """Listen beyond this machine without a token: whoever reaches the port can start waves."""
    allowed_hosts: Annotated[tuple[HostName, ...], Flag("--allowed-host")] = ()
    """Further name under which the page may be asked for (the Host header), with any port; again for more."""
    allowed_origins: Annotated[tuple[Origin, ...], Flag("--allowed-origin")] = ()
    """Further origin whose pages may use this one, such as https://ops.example.com; again for more."""
    trusted_proxies: Annotated[tuple[NetworkAddress, ...], Flag("--trusted-proxy")] = ()
    """Address or CIDR block of a proxy whose X-Forwarded-* headers (For, Proto, Host, Prefix) are believed; again for
    more."""


@dataclass(frozen=True)
class AlarmOptions:
    """How long something must last before it is an alarm, in seconds."""

    alarm_not_stepping_s: v.Seconds = 5.0
    """Alarm when ranks are not seen to follow START for so long."""
    alarm_silent_s: v.Seconds = 30.0
    """Alarm when a rank with 16 requests or more says nothing for so long, with fewer in proportion later."""
    alarm_imbalance_s: v.Seconds = 30.0
    """Alarm when a rank has far more requests than the others for so long."""
    alarm_missing_s: v.Seconds = 2.0
    """Alarm when an engine or front-end is gone, or a restart not over, for so long."""
    alarm_hung_s: v.Seconds = 5.0
    """Alarm when a rank with requests is seen to make no step for so long; what sources tell shows it."""


@dataclass(frozen=True)
class SourceOptions:
    """Whom to ask what engines do, beside what they report."""

    scrape: tuple[ScrapeTarget, ...] = ()
    """Where an API server of vLLM or SGLang is, http://HOST:PORT, or http://HOST:FIRST-LAST for several; again for
    more. A name with several addresses means all of them."""
    scrape_file: v.InputFile | None = None
    """File with one such address a line; it is read again when it changes."""
    scrape_interval: Annotated[float, v.Kind(v.seconds, "SECONDS", v.between(0.2, 60))] = 2.0
    """Seconds between two looks at each."""
    scrape_timeout: Annotated[float, v.Kind(v.seconds, "SECONDS", v.between(0.2, 60))] = 3.0
    """Seconds that an answer may take."""
    scrape_token_file: v.TokenFile | None = None
    """File with the token to present there; it is read again when it changes."""
    scrape_ca_file: v.InputFile | None = None
    """File with the certificates to believe there, beside those of the system; it is read again when it changes."""
    tap: v.TapAddress | None = None
    """Where somebody's coordinator, vLLM's own too, publishes to its front-ends: it is listened to, nothing else."""


def asks(options: SourceOptions) -> bool:
    """Whether anybody is to be asked."""
    return bool(options.scrape or options.scrape_file or options.tap)


@dataclass(frozen=True)
class TellingOptions:
    """What the deployment is called, who is told of its alarms, and which others the page shows beside it."""

    name: Name = ""
    """What the deployment is called, on the page and in messages, such as prod-moe-eu."""
    public_url: BaseUrl | None = None
    """Where people open the page, for links in messages; the address that it listens on, if none is named."""
    webhook: WebAddress | None = field(default=None, repr=False)
    """Where one message is posted when an alarm is raised and one when it clears; best as a variable where the address
    is itself a secret, as Slack's are."""
    webhook_format: WebhookFormat = "json"
    """What is posted there: json, or slack, which Mattermost and others take as well."""
    webhook_secret_file: v.TokenFile | None = None
    """File with the secret by which messages are signed (HMAC-SHA256, in X-DP-Coordinator-Signature)."""
    peers: Peers | None = None
    """Other coordinators that the page shows in a row each: their addresses, or a file with one a line and the file of
    its token behind it, which is read again when it changes."""
    allow_frames: Annotated[tuple[Origin, ...], Flag("--allow-frame")] = ()
    """Origin whose pages may show this one in a frame, such as https://grafana.example.com; again for more."""


@dataclass(frozen=True)
class RouterOptions:
    """How routers are told of load, beside REST and `/metrics`."""

    haproxy_agent: v.HostPort | None = None
    """Where HAProxy's agent check is answered, for the rank that agent-send names."""
    llm_d_endpoints: v.ReplacedFile | None = None
    """File for llm-d's file discovery, written anew when a rank joins, leaves or hangs."""
    vllm_gauges: Annotated[v.Text | None, v.Kind(v.text, "MODEL")] = None
    """Also show load as vLLM's own gauges, vllm:num_requests_running and others, with this as model_name."""


@dataclass(frozen=True)
class WebOptions(AlarmOptions, TellingOptions, AccessOptions, RouterOptions):
    """What the web layer is told of a running coordinator."""


@dataclass(frozen=True)
class PeerOptions:
    """Which engines and front-ends may connect, and how."""

    allow_peers: Annotated[tuple[NetworkAddress, ...], Flag("--allow-peer")] = ()
    """Address or CIDR block from which engines and front-ends may connect by tcp, such as 10.0.0.0/8; again for more;
    without any, all may."""
    curve_address: v.CurveAddress | None = None
    """Where peers may connect with CURVE besides, tcp://HOST:PORT: front_publish is there, back_output at the next
    port, back_publish at the one after it."""
    curve_key: v.KeyFile | None = None
    """File with this coordinator's secret CURVE key, as zmq.auth.create_certificates writes it."""
    curve_clients: v.Folder | None = None
    """Folder with the public keys (*.key) of those that may connect with CURVE; read at the start."""


@dataclass(frozen=True)
class ServeOptions(WebOptions, PeerOptions, SourceOptions, Deployment):
    """Everything that a coordinator's process can be told."""

    http: Annotated[HttpPorts | None, Flag(), Flag("--no-http", "no web server at all", means=None)] = DEFAULT_HTTP
    """Where page, REST and metrics listen; HOST:FIRST-LAST takes the first port that is free, port 0 any."""
    min_stats_update_interval_ms: Annotated[int, v.Kind(v.milliseconds, "MS", v.between(0, 60_000))] = 100
    """Milliseconds between load publications."""
    start_timeout: v.Seconds | None = None
    """End with exit code 3 when engines are still missing after this."""
    manual_start_timeout: v.Seconds = 5.0
    """Time in which a manual start must be seen to be followed."""
    hang_timeout: HangTimeout = HANG_TIMEOUT_S
    """With --supervised: kill a coordinator that gives no sign of life for so long, and start it again."""
    journal: v.OutputFile | None = None
    """File by which a coordinator that is started again goes on with its wave and addresses; with --supervised a
    temporary one, if none is named. Remove it when the engines are restarted."""
    record: v.Folder | None = None
    """Folder to which everything that enters the core is written."""
    record_max_mb: Annotated[int, v.Kind(v.count, "MB", v.between(8, 1 << 20))] = 256
    """Most that recordings may take up there, in MiB."""
    memory_limit: Annotated[int, v.Kind(v.index, "MB", v.between(0, 1 << 20))] = 512
    """Most memory, in MiB, that the process may take beyond what it has at its start and 600 KiB for each engine; 0 for
    no limit of its own."""
    log_level: LogLevel = "info"
    """Debug, info, warning or error."""
    parent_pid: ParentPid = None
    """Exit when this process is no longer our parent."""


@dataclass(frozen=True)
class CommandOptions(ServeOptions):
    """A coordinator's process and what is around it, as `serve` and the vLLM plugin start it."""

    supervised: v.Switch = False
    """Keep the coordinator alive: when it dies it comes back with its wave. Under vLLM this is the default."""
    endpoints_file: v.ReplacedFile | None = None
    """Write the real addresses there as JSON once bound."""
