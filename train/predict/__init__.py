"""A trained network on clouds of one's own: from Python, and as `topodistill predict`."""

from train.predict.cloud import predict, predict_frame
from train.predict.pretrained import Pretrained, from_pretrained

__all__ = ["Pretrained", "from_pretrained", "predict", "predict_frame"]
