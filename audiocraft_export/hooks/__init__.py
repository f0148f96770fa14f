"""Export from a training: `ExportMixin`, `with_export`."""
