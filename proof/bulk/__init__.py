"""`lwbafa bulk` on a Ray cluster of two nodes of this machine, its processes killed: measured.

    python -m proof.bulk --faces DIR      20,000 photographs and 20 kills; needs lwbafa[ray]
    python -m proof.bulk --only kills --photographs 500

Nodes are raylets, the run is the command, kills are `kill -9`. Each family is a file with
`run(plan, setup) -> list[Promise]`.
"""
