"""Methods that distill from camera images into a LiDAR network: xModel-KD, UDAKD and FSKD.

Of all three only abstracts are known; what they leave open is our reading, and is called that.
"""
