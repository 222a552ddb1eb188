"""From a clean source to its noisy copies: recipe, drawn parameters, pixel operations, noise fitting. No torch."""
