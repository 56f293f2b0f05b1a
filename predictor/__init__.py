"""Prediction: forecasts and anomaly scores from metric and alert history; computes, without I/O."""
