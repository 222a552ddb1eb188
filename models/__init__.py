"""Members: backbone, head, loss, feed, fit, predict. The only package that imports torch."""
