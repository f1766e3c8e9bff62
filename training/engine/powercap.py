"""RAPL: joules that the processor packages count themselves, read from Linux' /sys/class/powercap.
Known without torch, so that the process that watches a training counts as the training does."""

from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
WATT_HOUR = 3600.0  # joules


class Packages:
    """The processor packages whose counters may be read; false where there are none."""

    def __init__(self, home: Path = POWERCAP) -> None:
        self._last = {folder: _counted(folder) for folder in _readable(home)}
        self._joules = 0.0

    def __bool__(self) -> bool:
        return bool(self._last)

    def joules(self) -> float:
        """Since it was made, other programs' work included. A counter starts again from 0 after
        some hours of work at most, so this is to be asked now and then."""
        for folder, last in self._last.items():
            now = _counted(folder)
            spent = now - last
            self._joules += spent if spent >= 0 else spent + _range(folder)
            self._last[folder] = now
        return self._joules


def _readable(home: Path) -> list[Path]:
    found = []
    for folder in sorted(home.glob("intel-rapl:*")) if home.is_dir() else []:
        if folder.name.count(":") == 1:  # not a part of a package
            try:
                _counted(folder)
                _range(folder)
            except (OSError, ValueError):
                continue
            found.append(folder)
    return found


def _counted(folder: Path) -> float:
    return int((folder / "energy_uj").read_text()) / 1e6


def _range(folder: Path) -> float:
    return int((folder / "max_energy_range_uj").read_text()) / 1e6
