"""Where the parts lie that are no part of the engine: lab, page, scripts and templates.

In a checkout that is its root. A wheel carries them in `llm_dit/apps`, which is no package, and on no path but
that of the command `llm-dit`: so `import experiments` and `import web` go on meaning a user's own.
"""

from __future__ import annotations

from pathlib import Path


def installed_apps() -> Path | None:
    """Return the folder of an installed wheel; None in a checkout."""
    apps = Path(__file__).resolve().parent / "apps"
    return apps if apps.is_dir() else None


def home() -> Path:
    """Return the folder that holds `experiments`, `web`, `scripts` and `templates`."""
    return installed_apps() or Path(__file__).resolve().parents[2]
