"""Promises of the service under hostile input, overload, faults and restarts, each measured.

    python -m proof.promises              all but the soak, in under ten minutes on two cores
    python -m proof.promises --only fuzz  one family

Everything runs against real server processes over real sockets. Each family is a file with
`async def run(plan) -> list[Promise]`.
"""
