"""Exports that a training triggers: ExportMixin, with_export."""
