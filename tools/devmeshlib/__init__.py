"""devmesh: whole meshes on one machine, for the demo, the system tests, the benchmarks and people.

mesh.Mesh is the interface for programs, cli the one for people.  Python's standard library only.
"""
