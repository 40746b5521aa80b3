"""The loop that looks at jobs: queue, watchers of children, controller."""
