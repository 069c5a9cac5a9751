"""The figures, one module each: `measure(stage, …)` gives what was measured, goals beside it."""
