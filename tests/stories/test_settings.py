"""A Runtime refuses settings out of range, before it opens anything, and names the field."""

from __future__ import annotations

import concurrent.futures
import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowkit import ConfigError, QueueConfig, RateLimit, Retry, Runtime, SQLiteStore, executor
from flowkit.testing import FakeClock


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("modules", "app"),
        ("modules", 5),
        ("modules", [5]),
        ("worker_id", ""),
        ("worker_id", 5),
        ("worker_id", "x" * 201),
        ("max_workers", 0),
        ("max_workers", -1),
        ("max_workers", 1.5),
        ("max_workers", True),
        ("max_workers", "many"),
        ("poll_interval", 0),
        ("poll_interval", -1),
        ("poll_interval", float("nan")),
        ("poll_interval", timedelta(days=2)),
        ("poll_interval", None),
        ("poll_interval", "often"),
        ("lease_duration", 0),
        ("lease_duration", 0.01),
        ("lease_duration", float("inf")),
        ("lease_duration", timedelta(days=2)),
        ("lease_duration", True),
        ("queues", ["default"]),
        ("queues", {"": QueueConfig()}),
        ("queues", {"a b": QueueConfig()}),
        ("queues", {"default": 5}),
        ("pools", ["mine"]),
        ("pools", {"process": concurrent.futures.ThreadPoolExecutor()}),
        ("pools", {"mine": 5}),
        ("pools", {5: concurrent.futures.ThreadPoolExecutor()}),
        ("converter", 5),
        ("clock", 5),
        ("clock", object()),
        ("observers", 5),
        ("observers", [5]),
        ("artifact_store", "folder"),
        ("projection_store", "folder"),
    ],
)
def test_a_setting_out_of_range_is_named(tmp_path: Path, field: str, value: Any) -> None:
    path = tmp_path / "new" / "store.db"
    with pytest.raises(ConfigError, match=field):
        Runtime(f"sqlite:///{path}", entry_points=False, **{field: value})
    assert not path.exists()


@pytest.mark.parametrize(
    ("store", "message"),
    [
        (None, "workflow runtime store is required"),
        ("sqlite:///", "sqlite workflow store path is required"),
        ("sqlite:/// ", "sqlite workflow store path is required"),
        ("", "store"),
        ("app.db", "store"),
        ("mysql://host/db", "store"),
        ("sqlite://app.db", "expected sqlite:///var/app.db"),
        ("sqlite://var/app.db", "expected sqlite:///var/app.db"),
        ("sqlite:app.db", "expected sqlite:///var/app.db"),
        ("sqlite:///app.db?mode=ro", "takes no options"),
        ("sqlite:///app.db#1", "takes no options"),
        (5, "store"),
        (object(), "store"),
    ],
)
def test_a_store_that_is_none_is_refused(store: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Runtime(store)


def test_a_store_object_serves_one_runtime(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "store.db")
    with Runtime(store, entry_points=False), pytest.raises(ConfigError, match="one Runtime"):
        Runtime(store, entry_points=False)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "many"])
def test_the_limits_of_a_queue_refuse_nonsense(value: Any) -> None:
    with pytest.raises(ConfigError, match="max_workers"):
        QueueConfig(max_workers=value)
    with pytest.raises(ConfigError, match="burst"):
        RateLimit(1, burst=value)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "fast"])
def test_a_rate_refuses_nonsense(value: Any) -> None:
    with pytest.raises(ConfigError, match="rate_per_second"):
        RateLimit(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("backoff", "random"),
        ("initial", -1),
        ("initial", float("nan")),
        ("initial", 100),
        ("maximum", -1),
        ("multiplier", 0),
        ("jitter", 2),
        ("jitter", -0.1),
        ("on", 5),
        ("on", ("ValueError",)),
    ],
)
def test_a_retry_policy_refuses_nonsense(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        Retry(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queue", "a b"),
        ("retry", 3),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", "long"),
        ("priority", 1001),
        ("priority", 0.5),
        ("pool", ""),
    ],
)
def test_an_executor_refuses_options_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=field):
        executor("kind", **{field: value})


@pytest.mark.parametrize("kind", ["", "a b", "x" * 201, "a\n", 5])
def test_a_kind_that_is_no_name_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigError, match="kind"):
        executor(kind)


def test_durations_are_seconds_or_timedeltas(tmp_path: Path, flowkit_clock: FakeClock) -> None:
    settings: dict[str, Any] = {"poll_interval": timedelta(seconds=1), "lease_duration": timedelta(minutes=1)}
    with Runtime(SQLiteStore(":memory:"), entry_points=False, clock=flowkit_clock, **settings) as runtime:
        assert runtime._parts.settings.poll_interval == 1
        assert runtime._parts.settings.lease_duration == 60


def test_a_worker_is_named_after_its_host_and_process(flowkit_runtime: Runtime) -> None:
    assert flowkit_runtime.worker_id.startswith(f"{socket.gethostname()[:150]}-{os.getpid()}-")


def test_a_pool_that_is_not_there_is_refused_when_its_executor_is_registered(flowkit_runtime: Runtime) -> None:
    @executor("elsewhere", pool="cluster")
    def elsewhere() -> None: ...

    with pytest.raises(ConfigError, match="cluster"):
        flowkit_runtime.register_executor(elsewhere)
