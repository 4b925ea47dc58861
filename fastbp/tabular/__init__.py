"""Tables as people have them, made into arrays that a network trains on, and its answers put back beside them."""
