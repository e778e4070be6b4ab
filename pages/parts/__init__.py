"""Widgets, drawings and state that pages share."""
