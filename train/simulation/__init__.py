"""Simulated LiDAR: streets, ray casting, and a writer for each dataset's own format."""
