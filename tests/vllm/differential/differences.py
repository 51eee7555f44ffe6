"""Where this coordinator does something else than vLLM's on purpose, or because it cannot be otherwise.

Each name is exercised in test_named_differences.py, and the two loops must differ in exactly the way that is said here.
In random sequences a stimulus that meets one of them is given to vLLM's loop as its text says, and then nothing else
may differ.
"""

from __future__ import annotations

NAMED = {
    "identity_is_broadcast_as_index": (
        "A notice that names its engine by identity (two bytes, little-endian): vLLM broadcasts the bytes, which "
        "no engine takes for its index; ours broadcasts the index, so that the exclusion works."
    ),
    "unknown_engine_excludes_nobody": (
        "A notice naming an engine that does not exist: vLLM broadcasts whatever was named; ours excludes nobody."
    ),
    "undecodable": ("A frame that does not decode ends vLLM's loop; ours drops it."),
    "unexpected_fields": (
        "Outputs or a utility result in an engine's message end vLLM's loop; ours passes over them and takes the rest."
    ),
    "topic_subscription": ("A subscription to a topic on front_publish ends vLLM's loop; ours takes it for a tap."),
    "stray_on_back_publish": (
        "Before READY, anything but a subscription on back_publish makes vLLM's loop return, its process end with "
        "exit code 0; ours drops a stray frame, and takes an unsubscription for what it is."
    ),
    "unknown_engine_is_dropped": (
        "Before 0.27 a report of an engine that does not exist ends vLLM's loop; ours drops it."
    ),
    "unknown_engine_moves_nothing": (
        "A wave message of an engine that does not exist: vLLM takes it at its word when it comes alone (from 0.27 on "
        "not, with a report in the same frame); ours drops it."
    ),
    "far_wave_needs_a_second_witness": (
        "A wave message of more than 8 waves ahead: vLLM takes it at its word; ours waits until another rank, a report "
        "or its own rank a second later says the same. Beyond what fits u32 with the wave after it, ours drops it."
    ),
    "negative_numbers": (
        "A negative engine index counts from the end in vLLM's loop, negative counts are published, and a notice "
        "with a negative wave brings out START; ours leaves "
        "such a count as it was, and drops the rest of such frames."
    ),
    "scale_out_of_range": (
        "SCALE to none, fewer or absurdly many engines: vLLM forgets engines (or ends, when it is no number); "
        "ours drops it."
    ),
    "early_report_is_kept": (
        "A report of an engine that subscribed before SCALE told of it: vLLM (0.27 on) drops it, and publishes the "
        "engine as idle until it reports again; ours keeps it, and takes it with SCALE."
    ),
    "start_after_a_connection_made_again": (
        "A subscription after one that ended is news to vLLM's loop only as far as READY goes; ours (0.18 on) sends "
        "START, of the current wave and to all, for one may be lost; and once more after the next wave_complete."
    ),
    "scale_is_published": (
        "SCALE by itself is published by vLLM with the next report or heartbeat; by ours within the update interval."
    ),
    "scale_changes_the_whole_step": (
        "A step snapshot that waits when SCALE comes is published by vLLM with its old number of engines; by ours "
        "with the new one."
    ),
    "scale_waits_for_its_engines": (
        "SCALE to more engines than have subscribed: vLLM takes it at its word; ours waits up to 30 s for them, and "
        "passes over it then. So it does before READY, when vLLM does not read it."
    ),
    "restart_opens_steps_again": (
        "After an engine restarted at (wave 0, step 0) vLLM takes no step snapshots until the old steps are "
        "passed; ours compares with the engines' newest reports, and takes them again."
    ),
    "dense_steps_before_0_27": (
        "Before 0.27 vLLM takes step snapshots of engines that are not in lockstep; ours never does. Dense "
        "engines stamp every report (0, 0), so that neither shows."
    ),
    "announcements_of_one_turn": (
        "When a front-end's and an engine's message are there at the same moment, vLLM announces what came of "
        "both once; ours announces each."
    ),
    "publication_under_load": (
        "vLLM's loop publishes only when nothing comes: no load at all while reports of one step follow each "
        "other within 50 ms, or any faster than it takes them. Ours publishes at its deadlines, and waits for nothing "
        "but notices: 50 ms after the last one, and at most until 150 ms after the last load."
    ),
    "wall_clock": (
        "A wall clock that is set back stops vLLM's publications for as long; ours goes by the monotonic clock."
    ),
    "held_before_ready": (
        "Wave messages before READY: both take them afterwards, in order; ours only the newest of each rank, and of "
        "what front-ends tell of it."
    ),
}
