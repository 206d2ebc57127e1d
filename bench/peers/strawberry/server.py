"""Task history over GraphQL as a team would write it in Python: strawberry, FastAPI, asyncpg over the old table.

Arguments: the folder of PostgreSQL's socket, and the database. It says in a line of JSON where it listens.
"""

import json
import socket
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version

import asyncpg
import strawberry
import uvicorn
from fastapi import FastAPI
from strawberry.extensions import ParserCache, ValidationCache
from strawberry.fastapi import GraphQLRouter
from strawberry.scalars import JSON

INSERT = (
    "INSERT INTO task_history (user_id, task_id, step, result, timestamp, status)"
    " VALUES ($1, $2, $3, $4, $5, $6) RETURNING id"
)
STATUS = (
    "SELECT status, step, timestamp FROM task_history"
    " WHERE user_id = $1 AND task_id = $2 ORDER BY step DESC LIMIT 1"
)


@strawberry.input
class StepResult:
    step: str
    status: str
    completed: bool
    message: str
    result: JSON


@strawberry.input
class Save:
    user_id: strawberry.ID
    task_id: strawberry.ID
    step: int
    step_result: StepResult


@strawberry.type
class Saved:
    id: int
    status: str


@strawberry.type
class Task:
    status: str
    step: int
    updated_at: datetime


@strawberry.type
class Query:
    @strawberry.field
    async def task(self, info: strawberry.Info, user_id: strawberry.ID, task_id: strawberry.ID) -> Task | None:
        row = await info.context["pool"].fetchrow(STATUS, user_id, task_id)
        return Task(status=row["status"], step=row["step"], updated_at=row["timestamp"]) if row else None


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def save_task_history(self, info: strawberry.Info, save: Save) -> Saved:
        result = json.dumps(strawberry.asdict(save.step_result))
        now = datetime.now(UTC).replace(tzinfo=None)
        status = save.step_result.status
        args = (save.user_id, save.task_id, save.step, result, now, status)
        return Saved(id=await info.context["pool"].fetchval(INSERT, *args), status=status)


def app(folder, database):
    state = {}

    @asynccontextmanager
    async def lifespan(_):
        async with asyncpg.create_pool(host=folder, user="taskwire", database=database, min_size=20, max_size=20) as pool:
            state["pool"] = pool
            yield

    api = FastAPI(lifespan=lifespan)
    schema = strawberry.Schema(query=Query, mutation=Mutation, extensions=[ParserCache, ValidationCache])
    api.include_router(GraphQLRouter(schema, context_getter=lambda: state), prefix="/graphql")
    return api


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    names = ("strawberry-graphql", "fastapi", "uvicorn")
    told = {"address": "127.0.0.1:%d" % listener.getsockname()[1], "versions": {name: version(name) for name in names}}
    print(json.dumps(told), flush=True)
    uvicorn.run(app(*sys.argv[1:3]), fd=listener.fileno(), log_level="warning")
