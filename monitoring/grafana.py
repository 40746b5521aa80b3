"""Boards as Grafana reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef, VariableRefresh, VariableSort

from monitoring.panels import Panel, Shape

if TYPE_CHECKING:
    from monitoring.panels import Board, Query, Variable

TAG: Final = "coterie"
HEIGHT: Final = 8
SOURCE: Final = DataSourceRef("prometheus", "$datasource")
Drawn = bargauge.Panel | stat.Panel | statetimeline.Panel | timeseries.Panel


def text(board: Board) -> str:
    """Return a dashboard's JSON."""
    return JSONEncoder(sort_keys=True, indent=2).encode(build(board).build()) + "\n"


def build(board: Board) -> dashboard.Dashboard:
    """Return a dashboard's builder."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.text)
        .tags([TAG])
        .timezone("browser")
        .time("now-3h", "now")
        .refresh("30s")
        .readonly()
        .link(dashboard.DashboardLink("Coterie").type(DashboardLinkType.DASHBOARDS).tags([TAG]).include_vars(True).keep_time(True))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in board.variables:
        made = made.with_variable(_variable(variable))
    number = 0
    for row in board.rows:
        made = made.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            number += 1
            made = made.with_panel(_panel(panel).id(number))
    return made


def _variable(variable: Variable) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(variable.name)
        .label(variable.title)
        .datasource(SOURCE)
        .query(f"label_values({variable.metric}, {variable.label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")  # not .*, which a series without the label matches too
    )


def _panel(panel: Panel) -> Drawn:
    made = _shaped(panel).title(panel.title).description(panel.text).datasource(SOURCE).unit(panel.unit)
    made = made.span(panel.width).height(HEIGHT)
    for position, query in enumerate(panel.queries):
        made = made.with_target(_query(query, position))
    return made


def _shaped(panel: Panel) -> Drawn:
    match panel.shape:
        case Shape.LINES:
            return timeseries.Panel().axis_soft_min(0).fill_opacity(10)
        case Shape.NUMBER:
            return stat.Panel()
        case Shape.BARS:
            return bargauge.Panel().min(0).max(1)
        case Shape.STATES:
            return statetimeline.Panel()


def _query(query: Query, position: int) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(chr(ord("A") + position)).expr(query.expr).legend_format(query.legend)
