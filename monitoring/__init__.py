"""What people watch Coterie with: the reference of its metrics, rules and alerts, dashboards. `make dashboards` writes all of it."""
