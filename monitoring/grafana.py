"""Boards as Grafana reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphTresholdsStyleMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.panels import Level, Panel, Shape

if TYPE_CHECKING:
    from monitoring.panels import Board, Query, Variable

TAG: Final = "coterie"
SOURCE: Final = DataSourceRef("prometheus", "$datasource")
NO: Final = "rgba(128, 128, 128, 0.15)"  # of a state that doesn't hold
Drawn = bargauge.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel
NEWEST: Final = (Shape.NUMBER, Shape.BARS, Shape.TABLE)


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
    made = (
        dashboard.QueryVariable(variable.name)
        .label(variable.title)
        .datasource(SOURCE)
        .query(f"label_values({variable.metric}, {variable.label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    # All is .+ and not .*, which a series without the label matches too.
    return made.multi(True).include_all(True).all_value(".+") if variable.is_many else made


def _panel(panel: Panel) -> Drawn:
    made = _shaped(panel).title(panel.title).description(panel.text).datasource(SOURCE).unit(panel.unit)
    made = made.span(panel.width).height(panel.height).thresholds(_limits(panel))
    if panel.quiet:
        made = made.no_value(panel.quiet)
    for name in panel.bad:
        made = made.override_by_name(name, [DynamicConfigValue("thresholds", _steps(Level.NEUTRAL, (1, Level.BAD)))])
    for position, query in enumerate(panel.queries):
        made = made.with_target(_query(panel, query, position))
    return made


def _shaped(panel: Panel) -> Drawn:
    match panel.shape:
        case Shape.LINES:
            return _lines(panel)
        case Shape.NUMBER:
            named = BigValueTextMode.VALUE_AND_NAME if panel.has_names else BigValueTextMode.VALUE
            made = stat.Panel().graph_mode(BigValueGraphMode.NONE).color_mode(BigValueColorMode.VALUE).text_mode(named)
            return made.orientation(VizOrientation.VERTICAL).reduce_options(_newest())
        case Shape.BARS:
            return bargauge.Panel().min(0).max(1).orientation(VizOrientation.HORIZONTAL).reduce_options(_newest())
        case Shape.STATES:
            return _states(panel)
        case Shape.TABLE:
            return _table(panel)


def _newest() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _lines(panel: Panel) -> timeseries.Panel:
    made = timeseries.Panel().color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    made = made.fill_opacity(0 if panel.has_names else 10)
    if panel.is_from_zero:
        made = made.axis_soft_min(0)
    if panel.limits:
        made = made.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
    for name in panel.bad:
        color = {"mode": FieldColorModeId.FIXED.value, "fixedColor": Level.BAD.value}
        made = made.override_by_name(name, [DynamicConfigValue("color", color)])
    return made


def _states(panel: Panel) -> statetimeline.Panel:
    gray = NO if panel.base is Level.NEUTRAL else None  # else the limits tell the color of both
    words = ValueMap({"0": ValueMappingResult(text="no", color=gray), "1": ValueMappingResult(text="yes")})
    made = statetimeline.Panel().show_value(VisibilityMode.NEVER).row_height(0.8)
    return made.mappings([words]).color_scheme(dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS))


def _table(panel: Panel) -> table.Panel:
    """Return a table: rows of the same labels become one, and the first column that names a job leads to it."""
    names = {f"Value #{_ref(position)}": query.legend for position, query in enumerate(panel.queries) if query.legend}
    hidden = {"Time": True, **{f"Value #{_ref(position)}": True for position, query in enumerate(panel.queries) if not query.legend}}
    made = table.Panel().with_transformation(DataTransformerConfig("merge", options={}))
    made = made.with_transformation(DataTransformerConfig("organize", options={"excludeByName": hidden, "renameByName": names}))
    for query in panel.queries:
        if query.unit != panel.unit:
            made = made.override_by_name(query.legend, [DynamicConfigValue("unit", query.unit)])
    place = "var-namespace=${__data.fields.job_namespace}&var-job=${__data.fields.job_name}&var-datasource=${datasource}"
    link = {"title": "All of this job", "url": f"/d/{panel.link}?{place}&${{__url_time_range}}"}
    made = made.override_by_name("job_namespace", [DynamicConfigValue("displayName", "namespace")])
    return made.override_by_name("job_name", [DynamicConfigValue("displayName", "job"), DynamicConfigValue("links", [link])])


def _limits(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [Threshold(None, panel.base.value), *(Threshold(limit.value, limit.level.value) for limit in panel.limits)]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _steps(base: Level, *limits: tuple[float, Level]) -> dict[str, Any]:
    steps = [{"value": None, "color": base.value}, *({"value": value, "color": level.value} for value, level in limits)]
    return {"mode": ThresholdsMode.ABSOLUTE.value, "steps": steps}


def _query(panel: Panel, query: Query, position: int) -> prometheus.Dataquery:
    made = prometheus.Dataquery().ref_id(_ref(position)).expr(query.expr).legend_format(query.legend)
    if panel.shape is Shape.TABLE:
        made = made.format(PromQueryFormat.TABLE)
    return made.instant() if panel.shape in NEWEST else made.range()


def _ref(position: int) -> str:
    return chr(ord("A") + position)


def as_sent(expr: str, window: str, **chosen: str) -> str:
    """Return an expression as Grafana sends it, with these choices and everything where none was made."""
    sent = expr.replace("$__rate_interval", window)
    return re.sub(r"\$([a-z]+)\b", lambda found: chosen.get(found[1], ".+"), sent)
