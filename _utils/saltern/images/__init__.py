"""Images: a folder per image, rendered, hashed, and built along the graph of their FROMs.

options -> catalog -> render -> graph -> build; `docs/images.md` tells how an image is written.
"""

# Part of every image's content hash: raise it when the same folder would now build another image.
ENGINE_VERSION = "1"
