"""How many cores a process may use."""

import os
from pathlib import Path

import pytest

from interpool import _cpu


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("max 100000\n", None),
        ("50000 100000\n", 0.5),
        ("250000 100000\n", 2.5),
        ("-1 100000\n", None),
        ("nonsense\n", None),
    ],
)
def test_the_quota_of_a_control_group(tmp_path: Path, content: str, cores: float | None) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(content)
    assert _cpu.cgroup_quota(file, tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("150000\n", 1.5), ("-1\n", None)])
def test_the_quota_of_an_older_control_group(
    tmp_path: Path, quota: str, cores: float | None
) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text(quota)
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert _cpu.cgroup_quota(tmp_path / "cpu.max", tmp_path) == cores


def test_no_control_group(tmp_path: Path) -> None:
    assert _cpu.cgroup_quota(tmp_path / "cpu.max", tmp_path) is None


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (0.5, 1), (2.5, 3), (64.0, 8)])
def test_the_smaller_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, cores: int
) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: 8)
    monkeypatch.setattr(_cpu, "cgroup_quota", lambda: quota)
    assert _cpu.available_cores() == cores
