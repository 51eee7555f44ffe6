"""The plugin against vLLM's contract as each generation has it; no vLLM needed."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest
import zmq

from dp_coordinator.vllm import register
from dp_coordinator.vllm.coordinator import addresses
from dp_coordinator.vllm.refusal import log
from tests.vllm import standin
from tests.vllm.standin import GENERATIONS, Generation, ParallelConfig, state

ENDS = {"0.10.2", "0.18.0", "0.20.0", "0.33.0"}


def by_version(generation: standin.Generation) -> Any:
    return generation.version


def test_the_package_has_the_entry_point() -> None:
    (found,) = [
        point
        for point in entry_points(group="vllm.general_plugins")
        if point.dist is not None and point.dist.name == "dp-coordinator"
    ]
    assert found.load() is register


@pytest.mark.parametrize("switch", [None, "", "0", "false", "off", "no", " 0 "])
def test_off_is_off(install: Any, monkeypatch: pytest.MonkeyPatch, switch: Any) -> None:
    monkeypatch.delenv("DP_COORDINATOR") if switch is None else monkeypatch.setenv("DP_COORDINATOR", switch)
    assert not install().replaced


def test_off_imports_nothing() -> None:
    """vLLM calls the plugin in every process that it starts."""
    program = (
        "import sys; from dp_coordinator.vllm import register; before = set(sys.modules); register();"
        "print(*(set(sys.modules) - before))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""


@pytest.mark.parametrize("switch", ["1", "true", "on", "yes", "TRUE"])
def test_on_replaces_the_class_in_both_places(install: Any, monkeypatch: pytest.MonkeyPatch, switch: Any) -> None:
    monkeypatch.setenv("DP_COORDINATOR", switch)
    vllm = install()
    assert vllm.replaced
    assert vllm.coordinator.DPCoordinator is vllm.utils.DPCoordinator


def test_again_changes_nothing(install: Any, caplog: pytest.LogCaptureFixture) -> None:
    vllm = install()
    before = vllm.utils.DPCoordinator
    register()
    assert vllm.utils.DPCoordinator is before
    assert caplog.text == ""


def test_nonsense_in_the_switch_is_refused(
    install: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DP_COORDINATOR", "perhaps")
    with pytest.raises(SystemExit) as ended:
        install()
    assert ended.value.code == 2
    assert "DP_COORDINATOR: 'perhaps' is neither true nor false" in caplog.text


@pytest.mark.parametrize("generation", GENERATIONS, ids=by_version)
def test_vllm_uses_it_from_start_to_end(install: Any, generation: standin.Generation) -> None:
    """What vLLM reads of its coordinator, in the order in which it does, and what its pollers wait for."""
    vllm = install(generation)
    with vllm.launch() as coordinator:
        back_publish, back_output = coordinator.get_engine_socket_addresses()
        front_publish = coordinator.get_stats_publish_address()
        assert len({front_publish, back_publish, back_output}) == 3
        process = coordinator.proc
        assert process.is_alive()
        assert process.exitcode is None
        assert process.pid > 0
        assert process.name
        poller = zmq.Poller()
        poller.register(process.sentinel, zmq.POLLIN)
        assert not poller.poll(0)
        coordinator._coord_store = None  # 0.33 keeps one there
        seen = state(coordinator)
        assert seen["engine_count"] == 2
        assert seen["dialect"] == generation.version
        assert seen["endpoints"] == {
            "front_publish": front_publish,
            "back_output": back_output,
            "back_publish": back_publish,
        }
    assert poller.poll(5000)
    assert process.exitcode == 0


def test_a_model_without_experts_gets_no_waves(install: Any) -> None:
    with install().launch(enable_wave_coordination=False) as coordinator:
        assert state(coordinator)["wave_coordination"] is False


PLACEMENTS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "all here": ({}, ("ipc", "ipc")),
    "engines elsewhere": ({"local": 1}, ("ipc", "tcp")),
    "front-ends elsewhere": ({"local": 1, "fronts_elsewhere": True}, ("tcp", "tcp")),
    "front-ends elsewhere, all engines here": ({"fronts_elsewhere": True}, ("tcp", "ipc")),
    "elastic": ({"elastic": True}, ("ipc", "tcp")),
}


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("generation", GENERATIONS, ids=by_version)
def test_kinds_of_endpoint(install: Any, generation: standin.Generation, placement: Any) -> None:
    given, (front, back) = PLACEMENTS[placement]
    if "elastic" in given and not generation.elastic:
        back = "ipc"  # that rule came with 0.17
    vllm = install(generation)
    bound = addresses(ParallelConfig(generation, **given))
    kinds = {name.removesuffix("_address"): address.split(":")[0] for name, address in bound.items()}
    assert kinds == {"front_publish": front, "back_output": back, "back_publish": back}
    over_tcp = {address for address in bound.values() if address.startswith("tcp")}
    if generation.hands_endpoints_back:
        assert over_tcp <= {"tcp://127.0.0.1:0"}
    else:
        assert over_tcp == set(vllm.coordinator.CHOSEN), "vLLM chose the ports"


@pytest.mark.parametrize("generation", [g for g in GENERATIONS if g.version in ENDS], ids=by_version)
def test_real_endpoints_come_back(install: Any, generation: standin.Generation) -> None:
    vllm = install(generation)
    with vllm.launch({"local": 1, "fronts_elsewhere": True}) as coordinator:
        ends = {coordinator.get_stats_publish_address(), *coordinator.get_engine_socket_addresses()}
    assert len(ends) == 3
    assert all(re.fullmatch(r"tcp://127\.0\.0\.1:[1-9]\d*", end) for end in ends)
    if not generation.hands_endpoints_back:
        assert ends == set(vllm.coordinator.CHOSEN)


REFUSALS = {
    "another constructor": ("parallel_config, enable", "parallel_config, rank, enable", "DPCoordinator takes"),
    "one parameter more": ("logging_config=None", "logging_config=None, tracing=None", "tracing"),
    "another method": ("def shutdown", "def pause(self): ...\n\n    def shutdown", "a method pause"),
    "another shutdown": ("timeout=None", "timeout=None, drain=False", "DPCoordinator.shutdown takes (timeout, drain)"),
    "no shutdown": ("def shutdown(self, timeout=None)", "def _end(self)", "no shutdown"),
    "no addresses": ("def get_engine_socket_addresses", "def _addresses", "no get_engine_socket_addresses"),
    "no class": ("class DPCoordinator:", "class Coordinator:", "No class"),
    "another helper": ("def get_engine_client_zmq_addr(local_only, host", "def get_address(kind", "local_only, host"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_contract_that_is_not_known_is_left_alone(install: Any, caplog: pytest.LogCaptureFixture, what: Any) -> None:
    old, new, said = REFUSALS[what]

    def edit(engine: Any) -> None:
        text = (engine / "coordinator.py").read_text()
        assert old in text
        (engine / "coordinator.py").write_text(text.replace(old, new))
        if what == "no class":
            utils = (engine / "utils.py").read_text()
            (engine / "utils.py").write_text(
                utils.replace("import DPCoordinator", "import Coordinator as DPCoordinator")
            )

    assert not install(edit=edit).replaced
    assert "dp-coordinator is not used, vLLM's own coordinator is" in caplog.text
    assert said.lower() in caplog.text.lower()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("coordinator = DPCoordinator(parallel_config", "coordinator = make(parallel_config"),
        ("def launch_core_engines", "def launch_engines"),
    ],
)
def test_a_lookup_that_is_not_known_is_left_alone(
    install: Any, caplog: pytest.LogCaptureFixture, old: Any, new: Any
) -> None:
    def edit(engine: Any) -> None:
        text = (engine / "utils.py").read_text()
        assert old in text
        (engine / "utils.py").write_text(text.replace(old, new))

    assert not install(edit=edit).replaced
    assert "launch_core_engines does not build" in caplog.text


def test_a_vllm_without_a_coordinator_is_left_alone(install: Any, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ModuleNotFoundError):
        install(edit=lambda engine: (engine / "coordinator.py").unlink()).replaced  # noqa: B018
    assert "this vLLM has no coordinator that is known" in caplog.text


@pytest.mark.parametrize(
    ("version", "said"), [("0.9.1", "oldest version spoken is 0.10.2"), ("dev", "not a vLLM version")]
)
def test_a_version_that_cannot_be_spoken_is_left_alone(
    install: Any, caplog: pytest.LogCaptureFixture, version: str, said: str
) -> None:
    assert not install(Generation(version)).replaced
    assert said in caplog.text
    assert version in caplog.text


def test_a_newer_version_is_tried_with_a_warning(install: Any, caplog: pytest.LogCaptureFixture) -> None:
    with install(Generation("0.34.1")).launch() as coordinator:
        assert state(coordinator)["dialect"] == "0.34.1"
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.getMessage() == "dp-coordinator is tested with vLLM 0.10.2 to 0.33; this is 0.34.1."
    assert warning.name == log.name


def test_the_page_is_told(install: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with install().launch() as coordinator:
        url = coordinator.http_url
    assert f"dp-coordinator runs for 2 engines. Dashboard: {url}" in caplog.text
