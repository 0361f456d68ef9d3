"""``python -m vitattn_widgets`` is the same as ``vitattn``."""

from .cli import main

raise SystemExit(main())
