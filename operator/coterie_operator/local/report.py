"""`report.html`: a run on one page that needs nothing else. Pure; everything from the job is escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from coterie_operator.local.charts import Chart, svg
from coterie_operator.local.screen import amount, duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from coterie_api.history import RoundLine
    from coterie_operator.cluster import Object
    from coterie_operator.local.totals import Totals

SECURE: Final = {"threshold": "threshold", "colluders": "colluders", "ring bits": "ringBits"}
NOTHING: Final = "\N{EN DASH}"

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5c6a7a; --paper: #f6f7f9; --card: #fff; --rule: #e3e7ec;
  --accent: #0f766e; --good: #15803d; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #93a1b3; --paper: #11161d; --card: #1a212b; --rule: #2a3441;
  --accent: #2dd4bf; --good: #4ade80; --bad: #f87171; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 56px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; }
h1 { font-size: 26px; margin: 0; font-weight: 650; letter-spacing: -0.01em; }
h2 { font-size: 15px; margin: 0 0 8px; font-weight: 600; }
.state { font-weight: 650; } .Succeeded { color: var(--good); } .Failed { color: var(--bad); }
.message { color: var(--soft); margin: 4px 0 20px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-bottom: 16px; }
.card, figure, section { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; }
.card { padding: 12px 16px; } .card b { overflow-wrap: anywhere; }
.card b { display: block; font-size: 20px; font-weight: 620; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 16px; }
figure { margin: 0; padding: 14px 16px 8px; } figcaption { font-weight: 600; margin-bottom: 6px; }
svg { width: 100%; height: auto; display: block; }
.grid { stroke: var(--rule); } .tick, .none { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.line { fill: none; stroke: var(--accent); stroke-width: 2.2; stroke-linejoin: round; } .area { fill: var(--accent); opacity: 0.09; }
.dot { fill: var(--card); stroke: var(--accent); stroke-width: 2; } .bar { fill: var(--accent); opacity: 0.78; }
section { margin-top: 16px; padding: 16px 18px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 10px; text-align: right; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child, .words td, .words th { text-align: left; }
ul { margin: 0; padding-left: 18px; } footer { color: var(--soft); font-size: 13px; margin-top: 22px; }
"""


def report(job: Object, lines: Sequence[RoundLine], sums: Totals) -> bytes:
    """Return the page."""
    metadata, status = job["metadata"], job.get("status") or {}
    name = escape(f"{metadata['namespace']}/{metadata['name']}")
    state = escape(str(status.get("state") or "Unknown"))
    parts = [
        f'<header><h1>{name}</h1><span class="state {state}">{state}</span></header>',
        f'<p class="message">{escape(str(status.get("message") or ""))}</p>',
        _cards(job, lines, sums),
        '<div class="charts">' + "".join(map(_figure, charts(lines))) + "</div>",
        _guarantees(status),
        _tenants(status),
        _rounds(lines),
        f"<footer>Coterie · {escape(str(status.get('completionTime') or ''))} · job uid {escape(str(metadata.get('uid', '')))}</footer>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name} · Coterie</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body><main>{"".join(parts)}</main></body></html>\n'.encode()


def charts(lines: Sequence[RoundLine]) -> list[Chart]:
    """Return the plots: accuracy, loss, survivors, bytes, seconds."""
    cohort = max((line.cohort for line in lines), default=0)
    return [
        Chart("Accuracy", [(line.round, line.accuracy) for line in lines], lambda value: f"{value:.3g}"),
        Chart("Loss", [(line.round, line.loss) for line in lines], lambda value: f"{value:.3g}", floor=0.0),
        Chart("Survivors", [(line.round, line.survivors) for line in lines], lambda value: f"{value:g}", True, 0.0, cohort),
        Chart("Bytes", [(line.round, line.bytes_sent + line.bytes_received) for line in lines], amount, True, 0.0),
        Chart("Seconds", [(line.round, line.seconds) for line in lines], lambda value: f"{value:.3g} s", True, 0.0),
    ]


def _figure(chart: Chart) -> str:
    return f"<figure><figcaption>{escape(chart.title)}</figcaption>{svg(chart)}</figure>"


def _cards(job: Object, lines: Sequence[RoundLine], sums: Totals) -> str:
    secure = (job.get("status") or {}).get("secureAggregation") or {}
    cards = [
        (f"{len(lines)} / {job['spec'].get('rounds', 0)}", "rounds"),
        (NOTHING if sums.best_accuracy is None else f"{sums.best_accuracy:.4f}", f"best accuracy, round {sums.best_round or NOTHING}"),
        (duration(sums.seconds), "in all, start-up included"),
        (amount(sums.bytes_sent + sums.bytes_received), "over the wire"),
        (NOTHING if sums.survivors_least is None else str(sums.survivors_least), "fewest updates in a sum"),
        (
            str(secure.get("protocol", NOTHING)),
            ", ".join(f"{word} {secure.get(key, NOTHING)}" for word, key in SECURE.items()),
        ),
    ]
    return (
        '<div class="cards">' + "".join(f'<div class="card"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in cards) + "</div>"
    )


def _guarantees(status: Object) -> str:
    sentences = (status.get("privacy") or {}).get("guarantees") or ()
    items = "".join(f"<li>{escape(str(sentence))}</li>" for sentence in sentences)
    return f"<section><h2>What is guaranteed, and what is not</h2><ul>{items}</ul></section>" if items else ""


def _tenants(status: Object) -> str:
    rows = [
        (
            f"{tenant['namespace']}/{tenant['name']}",
            tenant.get("state", ""),
            f"{tenant.get('reason', '')} {tenant.get('message', '')}".strip(),
        )
        for tenant in status.get("tenants") or ()
    ]
    return _table("Tenants", ("data set", "state", "why"), rows, "words") if rows else ""


def _rounds(lines: Sequence[RoundLine]) -> str:
    heads = ("round", "survivors", "accuracy", "loss", "sent", "received", "seconds", "clamped", "drops")
    return _table("Rounds", heads, [_row(line) for line in lines]) if lines else ""


def _row(line: RoundLine) -> tuple[str, ...]:
    drops = ", ".join(f"{reason} {count}" for reason, count in sorted(line.drops.items()))
    accuracy = "" if line.accuracy is None else f"{line.accuracy:.4f}"
    loss = "" if line.loss is None else f"{line.loss:.4f}"
    wire = (amount(line.bytes_sent), amount(line.bytes_received))
    return (str(line.round), f"{line.survivors} / {line.cohort}", accuracy, loss, *wire, f"{line.seconds:.2f}", str(line.clamped), drops)


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]], style: str = "numbers") -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<section><h2>{escape(title)}</h2><table class='{style}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></section>"
