"""The API `coterie.dev/v1alpha1`."""
