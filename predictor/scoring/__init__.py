"""Anomaly scores: how strange each row of a machine's metrics, or each point of one series, is; no labels needed."""
