"""A trained network on clouds of one's own: from Python, and as `topodistill predict`."""

from train.predict.cloud import predict, predict_frame

__all__ = ["predict", "predict_frame"]
