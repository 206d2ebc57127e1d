"""Drives the class that Taskwire replaces, `DatabaseManager` of aiecs, called directly: one process, uvloop, a pool of 20.

Arguments: the folder of PostgreSQL's socket, and the database. It says in a line of JSON when it is ready; then each line
of standard input is one round, and its outcome one line of standard output.
"""

import asyncio
import json
import logging
import random
import sys
import time
from importlib.metadata import version

import uvloop

logging.disable(logging.CRITICAL)

from aiecs.domain.execution.model import TaskStepResult  # noqa: E402
from aiecs.infrastructure.persistence.database_manager import DatabaseManager  # noqa: E402

USERS = 100
STEPS = 10
TEXT = "x" * 200
POOL = 20


def saves(manager, order):
    """Each caller has a task of a random user, does its ten steps, and takes the next one."""

    def caller(number):
        state = {"task": 0, "step": STEPS, "user": ""}

        async def call():
            if state["step"] == STEPS:
                state.update(task=state["task"] + 1, step=0, user=f"user_{random.randrange(USERS)}")
            step = state["step"]
            state["step"] += 1
            result = TaskStepResult(
                step="s",
                result={"processed_rows": 1000, "text": TEXT},
                completed=True,
                message="m",
                status="completed",
            )
            task = f"{order['prefix']}_{number}_{state['task']}"
            await manager.save_task_history(state["user"], task, step, result)

        return call

    return caller


def statuses(manager, order):
    tasks = order["tasks"]

    async def call():
        task = random.randrange(tasks)
        status = await manager.check_task_status(f"user_{task % USERS}", f"seed_{task}")
        if status.value != "completed":
            raise ValueError(f"seed_{task} is {status}")

    return lambda number: call


def histories(manager, order):
    tasks = order["tasks"]

    async def call():
        task = random.randrange(tasks)
        records = await manager.load_task_history(f"user_{task % USERS}", f"seed_{task}")
        if len(records) != STEPS:
            raise ValueError(f"seed_{task} has {len(records)} records")

    return lambda number: call


def lists(manager, order):
    async def call():
        tasks = await manager.get_user_tasks(order["user"], 50)
        if len(tasks) != 50:
            raise ValueError(f"{order['user']} has {len(tasks)} tasks")

    return lambda number: call


WORK = {"save": saves, "status": statuses, "history": histories, "list": lists}


async def drive(manager, order):
    """So many callers, one call after the other each. Counts what ended within the window."""
    begin = time.monotonic() + order["warm_up"]
    end = begin + order["seconds"]
    work = WORK[order["work"]](manager, order)
    calls = counted = 0
    times = []

    async def caller(number):
        nonlocal calls, counted
        call = work(number)
        while (sent := time.monotonic()) < end:
            await call()
            now = time.monotonic()
            calls += 1
            if now >= begin:
                # One that takes longer than the window still says how long it took.
                times.append(now - sent)
                counted += now < end

    await asyncio.gather(*(caller(number) for number in range(order["callers"])))
    times.sort()
    at = lambda share: times[min(int(len(times) * share), len(times) - 1)] * 1000 if times else None  # noqa: E731
    return {"calls": calls, "a_second": counted / order["seconds"], "p50": at(0.5), "p99": at(0.99)}


async def main(socket, database):
    manager = DatabaseManager({"host": socket, "user": "taskwire", "database": database})
    await manager.connect(POOL, POOL)
    packages = {name: version(name) for name in ("aiecs", "asyncpg", "uvloop")}
    print(json.dumps({"versions": {"python": sys.version.split()[0], **packages}}), flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            outcome = await drive(manager, json.loads(line))
        except Exception as error:  # Whatever it is, it voids the round.
            outcome = {"error": repr(error)}
        print(json.dumps(outcome), flush=True)
    await manager.disconnect()


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(main(sys.argv[1], sys.argv[2]))
