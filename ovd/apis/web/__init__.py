"""The page of ``tools/web_demo.py``: an image and words in, boxes out."""
