"""The four dashboards: all jobs, one job, privacy, the operator.

What the job's status holds is read from the operator, which tells it also after the job's end. How fast, how often and how long
is read from the aggregator, while it runs. No panel adds the two up.
"""

from __future__ import annotations

from typing import Final

from monitoring.boards.federation import FEDERATION
from monitoring.boards.job import OF_ONE
from monitoring.boards.operator import OPERATOR
from monitoring.boards.privacy import PRIVACY

BOARDS: Final = (FEDERATION, OF_ONE, PRIVACY, OPERATOR)
