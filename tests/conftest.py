from __future__ import annotations

from hypothesis import settings

# How fast an example ran says more of what else the machine did than of the code; speed is measured in bench/.
settings.register_profile("coterie", deadline=None)
settings.load_profile("coterie")
