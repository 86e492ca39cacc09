"""The programs of the mesh; none imports a sibling."""
