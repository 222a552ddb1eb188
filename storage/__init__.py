"""Files, safely: errors, atomic writes, tar shards, strict tables, first contact with an image. No torch."""
