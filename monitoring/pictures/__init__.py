"""Pictures of the dashboards, for people who haven't installed them: the same queries, drawn as SVG."""
