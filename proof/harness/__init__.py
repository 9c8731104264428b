"""What proofs, benches and tests share: server processes, callers, load, a faulty engine."""
