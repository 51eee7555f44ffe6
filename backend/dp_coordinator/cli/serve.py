"""`dp-coordinator serve`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from dp_coordinator import __version__
from dp_coordinator.cli.commands import SUPERVISED
from dp_coordinator.cli.settings import UsageError, Values
from dp_coordinator.process import Bound, ServeOptions, SettingsError, configure_logging
from dp_coordinator.process import serve as run_coordinator
from dp_coordinator.supervised import previous_end

ALARMS = ("alarm_not_stepping_s", "alarm_silent_s", "alarm_imbalance_s", "alarm_missing_s")
ADDRESSES = ("front_publish_address", "back_output_address", "back_publish_address")


def serve(values: Values) -> int:
    """Run a coordinator until SIGINT or SIGTERM; print where everything is once it is bound."""
    try:
        options = options_from(values).checked()
    except SettingsError as error:
        raise UsageError(str(error)) from None
    if values["supervised"]:
        become_supervisor(options)
    configure_logging(options.log_level)
    file: Path | None = values["endpoints_file"]
    remove_if_present(file)  # of an earlier run: whoever waits for the file must not find that one

    def on_bound(bound: Bound) -> None:
        if file is not None:
            write_atomically(file, bound)
        try:
            announce(bound, options)
        except OSError:
            if previous_end() is None:
                raise  # in a restart: the terminal may be gone by now

    try:
        return run_coordinator(options, on_bound)
    finally:
        remove_if_present(file)


def become_supervisor(options: ServeOptions) -> NoReturn:
    """Turn this process into a supervisor, which runs the same command without `--supervised`."""
    sys.stdout.flush()
    worker = [sys.executable, "-m", "dp_coordinator", *(word for word in sys.argv[1:] if word != "--supervised")]
    supervisor = [sys.executable, "-m", "dp_coordinator.supervisor", "--hang-timeout", str(options.hang_timeout)]
    if options.journal is None:
        journal = nameless_file()
        supervisor += ["--pass-fd", str(journal)]
        worker += ["--journal", f"/dev/fd/{journal}"]
    environment = {name: value for name, value in os.environ.items() if name != SUPERVISED.variable}
    os.execve(sys.executable, [*supervisor, "--", *worker], environment)  # noqa: S606


def nameless_file() -> int:
    """A descriptor, kept across exec, of a file that is nowhere: however its holders end, nothing of it is left."""
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    os.set_inheritable(descriptor, True)
    return descriptor


def options_from(values: Values) -> ServeOptions:
    """What the flags say, as the coordinator's options."""
    return ServeOptions(
        engine_count=values["engine_count"],
        **{name: values[name] for name in ADDRESSES if values[name] is not None},
        http=None if values["no_http"] else values["http"],
        dialect=values["dialect"],
        min_stats_update_interval_ms=values["min_stats_update_interval_ms"],
        wave_coordination=not values["no_wave_coordination"],
        start_timeout=values["start_timeout"],
        manual_start_timeout=values["manual_start_timeout"],
        token=values["token_file"] or values["token"],
        trust_network_without_token=values["trust_network_without_token"],
        allowed_hosts=values["allowed_host"],
        allowed_origins=values["allowed_origin"],
        stale_after_s=values["stale_after_s"],
        **{name: values[name] for name in ALARMS},
        hang_timeout=values["hang_timeout"],
        log_level=values["log_level"],
        journal=values["journal"] and str(values["journal"]),
        record=values["record"] and str(values["record"]),
        record_max_mb=values["record_max_mb"],
    )


def announce(bound: Bound, options: ServeOptions) -> None:
    """Tell a person where everything is."""
    waves = "" if options.wave_coordination else ", without wave coordination"
    ends = bound.endpoints
    lines = [
        f"dp-coordinator {__version__}, speaking vLLM {options.dialect}, for {options.engine_count} engines{waves}",
        f"  front_publish  {ends.front_publish}",
        f"  back_output    {ends.back_output}",
        f"  back_publish   {ends.back_publish}",
        f"  dashboard      {bound.http_url or 'none (--no-http)'}",
    ]
    print("\n".join(lines), flush=True)


def write_atomically(file: Path, bound: Bound) -> None:
    """Write the addresses as JSON; a reader sees all or nothing. Raises `UsageError` when it cannot be."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        with os.fdopen(descriptor, "w") as out:
            json.dump(bound.as_json(), out, indent=2)
            out.write("\n")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except OSError as error:
        raise UsageError(f"--endpoints-file: {str(file)!r} cannot be written ({error.strerror})") from None


def remove_if_present(file: Path | None) -> None:
    """Remove the file, if there is one to remove."""
    if file is not None:
        with suppress(OSError):
            file.unlink(missing_ok=True)
