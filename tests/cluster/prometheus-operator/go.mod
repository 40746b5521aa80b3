// The definitions of ServiceMonitor, PodMonitor and PrometheusRule, which the chart's objects are judged by. No program is built of it.
module coterie.dev/tests/cluster/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
