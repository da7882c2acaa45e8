"""Whether config.json is what was written: its sha256 is in the manifest. Runs of an earlier mechicl lack it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mechicl.config import Config, to_dict
from mechicl.system.files import bytes_of, json_bytes

if TYPE_CHECKING:
    from mechicl.series.series import Series

_FIELD = "config_sha256"


def record(config: Config) -> dict[str, str]:
    """What the manifest has of the config.json of these settings."""
    return {_FIELD: hashlib.sha256(json_bytes(to_dict(config))).hexdigest()}


def problem(series: Series) -> str | None:
    """What is wrong with config.json, or None; None also where nothing was recorded (`is_recorded`)."""
    written = bytes_of(series.root / "config.json") or b""
    if not is_recorded(series) or hashlib.sha256(written).hexdigest() == series.manifest[_FIELD]:
        return None
    return "config.json: its sha256 is not the recorded one (altered)."


def is_recorded(series: Series) -> bool:
    """Whether the manifest has it."""
    return _FIELD in series.manifest
