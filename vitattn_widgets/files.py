"""Writing files so that nothing is ever left half-written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import SettingsError

PAGE_SUFFIXES = (".html", ".htm")


def check_writable(path: Path, suffixes: tuple[str, ...]) -> Path:
    """Find out before any work whether a file can be written there.

    Raises:
        SettingsError: a file type that is not written, no such folder, or a folder that may not be written to.
    """
    if path.suffix.lower() not in suffixes:
        raise SettingsError(f"{path}: cannot write this type of file; possible: {', '.join(suffixes)}")
    if path.is_dir():
        raise SettingsError(f"{path}: is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise SettingsError(f"{path}: the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise SettingsError(f"{path}: the folder {path.parent} may not be written to")
    return path


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file or none: to a temporary neighbour first, then renamed over.

    Raises:
        SettingsError: the disk is full or the place cannot be written to; what was there before stays.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # on the disk before it replaces what was there, should the power fail
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # temporary files are private; results are ordinary files
        temporary.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: could not be written ({error.strerror})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
