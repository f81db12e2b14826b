"""For Python users: words and images in, detections out."""
