"""Writing files completely or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .errors import SettingsError

PAGE_SUFFIXES = (".html", ".htm")


def check_writable(path: Path, suffixes: tuple[str, ...]) -> Path:
    """Check, before any work, that a file can be written to a path.

    Raises:
        SettingsError: an unsupported file type, no such folder, or no permission to write to it.
    """
    if path.suffix.lower() not in suffixes:
        raise SettingsError(f"{path}: cannot write this type of file; possible: {', '.join(suffixes)}")
    if path.is_dir():
        raise SettingsError(f"{path}: is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise SettingsError(f"{path}: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise SettingsError(f"{path}: no permission to write to the folder {path.parent}; choose another one")
    return path


def write_file(path: Path, content: bytes) -> None:
    """Write a file completely or not at all: a temporary file beside it replaces it in one step.

    Raises:
        SettingsError: the disk is full or the path cannot be written to; an existing file stays as it was.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # on the disk before the rename, in case the power fails
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)  # temporary files are created private; a result gets the usual permissions
        temporary.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: could not be written ({error.strerror})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
