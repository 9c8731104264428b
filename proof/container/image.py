"""The image: it builds, starts where nothing can be written, and says how it is."""

from proof.container.engine import IMAGE, Container, build, docker, inspect
from proof.harness.target import REFERENCE, content, until
from proof.harness.wire import Caller
from proof.promises.promises import Promise, at_most, exactly

LARGEST_MIB = 550
LARGEST_RESIDENT_MIB = 550
HEALTH_LIMIT_S = 60


async def run() -> list[Promise]:
    """Build, start once as strictly as can be, stop."""
    await build()
    facts = await inspect(IMAGE)
    container = Container("image", cpus=1)
    try:
        seconds = await container.start()
        resident_mib = await container.metric("process_resident_memory_bytes") / 2**20
        answer = await Caller(container.address).ask(REFERENCE)
        faces = len(content(answer)["faces"]) if answer and answer.status == 200 else 0

        async def healthy() -> bool:
            return bool((await container.state())["Health"]["Status"] == "healthy")

        became_healthy = await until(healthy, HEALTH_LIMIT_S, 0.5)
        status = await container.stop()
    finally:
        await container.remove()
    return [
        at_most("image without its base", await own_mib(), LARGEST_MIB, "MiB", whole=facts["Size"]),
        exactly("user", facts["Config"]["User"], "10001:10001"),
        at_most("ready after, one CPU, nothing writable", seconds, 60, "s"),
        at_most("resident memory when ready, one CPU", resident_mib, LARGEST_RESIDENT_MIB, "MiB"),
        exactly("faces found in a photograph", faces, 1),
        exactly("healthy by its own check", became_healthy, True),
        exactly("exit status after SIGTERM", status, 0),
    ]


async def own_mib() -> float:
    """Size of the layers that the Dockerfile adds to its base; its first line there is an ARG."""
    rows = (await docker("history", "--human=false", "--no-trunc", "--format",
                         "{{.Size}} {{.CreatedBy}}", IMAGE)).splitlines()  # fmt: skip
    first = next(number for number, row in enumerate(rows) if "ARG REVISION" in row)
    return sum(int(row.split(" ", 1)[0]) for row in rows[:first]) / 2**20
