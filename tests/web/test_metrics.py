from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from dp_coordinator import __version__
from tests.web.rig import Site, complete, start_wave, stats

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(running: Site) -> Samples:
    response = running.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(response.text):
        assert family.name.startswith(("dp_coordinator_", "llm_d_epp_", "vllm:"))
        assert family.documentation
        for sample in family.samples:
            key = (sample.name.removeprefix("dp_coordinator_"), tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def plain(found: Samples, name: str) -> float:
    return found[name, ()]


def test_an_idle_deployment(fresh: Site) -> None:
    found = scrape(fresh)
    assert plain(found, "current_wave") == 0
    assert plain(found, "engines_running") == 0
    assert plain(found, "ready") == 1
    assert plain(found, "engine_count") == plain(found, "engines_subscribed") == 4
    assert plain(found, "front_ends") == 0
    assert plain(found, "viewers") == 0
    assert 0 < plain(found, "uptime_seconds") < 60
    assert found["build_info", (("dialect", "0.28"), ("version", __version__))] == 1
    states = {labels[0][1]: v for (name, labels), v in found.items() if name == "state"}
    assert states == {"waiting": 0, "paused": 1, "starting": 0, "running": 0, "serving": 0, "recovering": 0}
    assert not [name for name, _ in found if name.startswith("engine_") and name not in ("engine_count", "engine_up")]
    assert found["engine_up", (("engine", "3"),)] == 1


def test_engines_that_reported_and_no_others(fresh: Site) -> None:
    fresh.loop.feed(start_wave(engine=2), stats(2, waiting=3, running=4))
    found = scrape(fresh)
    second = (("engine", "2"),)
    assert found["engine_waiting", second] == 3
    assert found["engine_running", second] == 4
    assert found["engine_kv_cache_usage", second] == 0.25
    assert 0 <= found["engine_report_age_seconds", second] < 10
    assert ("engine_waiting", (("engine", "0"),)) not in found
    assert plain(found, "engines_running") == 1
    fresh.loop.feed(complete())
    assert plain(scrape(fresh), "current_wave") == 1


def test_what_the_loop_counted(fresh: Site) -> None:
    counters = fresh.mailbox.counters
    counters.count_frame("stats", "accepted", 7)
    counters.count_frame("back_output", "malformed")
    counters.starts["manual"] = 2
    counters.loads_published = 9
    for seconds in (0.005, 0.07, 0.07, 9999):
        counters.wave_seconds.observe(seconds)
    counters.publication_lateness_seconds.observe(0.001)
    with fresh.stream() as viewer:
        viewer.recv(5)
        found = scrape(fresh)
    assert found["frames_total", (("kind", "stats"), ("verdict", "accepted"))] == 7
    assert found["frames_total", (("kind", "back_output"), ("verdict", "malformed"))] == 1
    assert found["start_broadcasts_total", (("cause", "manual"),)] == 2
    assert plain(found, "loads_published_total") == 9
    assert plain(found, "viewers") == 1
    assert plain(found, "viewers_stalled_total") == 0
    buckets = {labels[0][1]: v for (name, labels), v in found.items() if name == "wave_duration_seconds_bucket"}
    assert (buckets["0.01"], buckets["0.05"], buckets["0.1"], buckets["1800.0"], buckets["+Inf"]) == (1, 1, 3, 3, 4)
    assert plain(found, "wave_duration_seconds_count") == 4
    assert plain(found, "wave_duration_seconds_sum") == 9999.145
    assert found["publication_lateness_seconds_bucket", (("le", "0.001"),)] == 1


def test_two_coordinators_in_one_process_do_not_mix(fresh: Site, shared: Site) -> None:
    fresh.mailbox.counters.loads_published = 5
    assert plain(scrape(fresh), "loads_published_total") == 5
    assert plain(scrape(shared), "loads_published_total") == 0
