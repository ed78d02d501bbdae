"""The parts of `perf/run`: machine, servers, load, matrix, extras, report."""
