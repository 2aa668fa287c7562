"""A spinning LiDAR in a procedural street: scene, objects, layout, ray casting, the sensor."""
