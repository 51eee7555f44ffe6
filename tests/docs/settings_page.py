"""docs/settings.md, made from the options classes. Run as a module to write it."""

from __future__ import annotations

from pathlib import Path

from dp_coordinator.cli.commands import COMMANDS, Command, named
from dp_coordinator.settings import Flag, Setting, settings_of
from dp_coordinator.vllm.settings import DECIDED

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
HEAD = """# Settings

<!-- Written by `make settings` from the options classes (`options.py` and others); a test checks it. -->

Each flag has a variable: `--engine-count` is `DP_COORDINATOR_ENGINE_COUNT`. A flag goes before its variable. An empty
variable counts as not set. For a flag without a value it is `1`, `true`, `yes` or `on`, or `0`, `false`, `no` or `off`;
for one that may be given again, a list separated by commas.

Under vLLM (`DP_COORDINATOR=1 vllm serve ...`) there are only the variables, those of `serve`. What is marked with *
vLLM decides itself. `dp_coordinator.handle.DPCoordinator` takes the same as keyword arguments.
"""


def page() -> str:
    """The whole document. Commands with the same settings share a table."""
    together: dict[type, list[Command]] = {}
    for command in COMMANDS:
        together.setdefault(named(command.options), []).append(command)
    return "\n".join([HEAD, *(_section(commands, options) for options, commands in together.items())])


def _section(commands: list[Command], options: type) -> str:
    title = ", ".join(f"`{command.name}`" for command in commands)
    lines = [f"## {title}", "", "| flag | default | meaning |", "|---|---|---|"]
    serve = commands[0].name == "serve"
    for setting in settings_of(options):
        for flag in setting.flags:
            if flag.for_people:
                mark = " *" if serve and setting.name in DECIDED else ""
                lines.append(f"| `{_name(flag)}`{mark} | {_default(setting, flag)} | {flag.help} |")
    return "\n".join([*lines, ""])


def _name(flag: Flag) -> str:
    if not flag.on_command_line:
        return flag.variable
    return (
        flag.flag if flag.is_switch or flag.is_positional else f"{flag.flag} {flag.kind.metavar or flag.name.upper()}"
    )


def _default(setting: Setting, flag: Flag) -> str:
    if setting.is_required:
        return "required"
    if flag.is_switch:
        return "on" if setting.default is True and flag.means is True else "off"
    return f"`{setting.shown_default}`" if setting.shown_default else "none"


if __name__ == "__main__":
    PAGE.write_text(page())
