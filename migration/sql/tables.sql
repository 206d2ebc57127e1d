-- The tables. Key columns are COLLATE "C": one sort order in SQL and in Rust, and prefixes found by the plain index.

-- The last record of each user. Its row lock is what orders a user's writes; half-empty pages keep its updates HOT.
-- A user without records stands at position 0, at the epoch, with the nil UUID: so a cursor to "nothing yet" is the same
-- whether or not the row exists.
CREATE TABLE feed_head (
    user_id     text COLLATE "C" PRIMARY KEY,
    position    bigint      NOT NULL DEFAULT 0,
    recorded_at timestamptz NOT NULL DEFAULT 'epoch',
    record_id   uuid        NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    -- The highest of version 7 that any record of this user ever had: a record under a higher one is new, without a look. The
    -- server's own ids are such, and rise with time, so this is how nearly every record comes.
    highest_record_id uuid  NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    -- The transaction that wrote this head: what the feed's check compares with the last snapshot it saw.
    xid         xid8        NOT NULL DEFAULT pg_current_xact_id()
) WITH (fillfactor = 50);

-- The current state of each task, as its records left it. No index of it holds a column that a report changes, so its
-- updates are HOT: what moves with each report stands in task_order. Closed sets of values are checked once an append
-- (taskwire_append_v1), not by constraints here, which PostgreSQL would read anew for each statement.
CREATE TABLE task (
    -- What has a fixed width and is never null comes first: PostgreSQL finds such a column without walking the row.
    -- The last record of this task.
    position               bigint      NOT NULL,
    -- The record that last moved the task: its result and error are read there.
    moved_position         bigint      NOT NULL,
    moved_at               timestamptz NOT NULL,
    -- Its steps count from this record on: the first, or the last restart.
    steps_from_position    bigint      NOT NULL,
    steps_from_at          timestamptz NOT NULL,
    created_at             timestamptz NOT NULL,
    updated_at             timestamptz NOT NULL,
    -- Of the last record.
    record_id              uuid        NOT NULL,
    -- The highest step since the start, its latest status (step_status), and how far it is while it runs (step_progress).
    step                   integer     NOT NULL,
    -- The highest ever, restarts included: a cancellation stands behind it for readers who go by the step.
    highest_step           integer     NOT NULL,
    completed_count        integer     NOT NULL DEFAULT 0,
    user_id                text COLLATE "C" NOT NULL,
    task_id                text COLLATE "C" NOT NULL,
    status                 text        NOT NULL,
    step_status            text        NOT NULL,
    message                text        NOT NULL DEFAULT '',
    tags                   text[]      NOT NULL DEFAULT '{}',
    -- Which steps stand as completed, failed and timed out: kept here, so that no save reads history
    -- and retention takes nothing from progress.
    completed_steps        int4multirange NOT NULL DEFAULT '{}',
    failed_steps           int4multirange NOT NULL DEFAULT '{}',
    timed_out_steps        int4multirange NOT NULL DEFAULT '{}',
    -- What completed_steps would be if late records counted: tells when cancelled work ended all the same.
    late_completed_steps   int4multirange,
    started_at             timestamptz,
    finished_at            timestamptz,
    step_progress          double precision,
    total_steps            integer,
    name                   text,
    error_code             text,
    cancel_requested_at    timestamptz,
    cancel_requested_by    text,
    cancel_reason          text,
    cancel_delivered_at    timestamptz,
    cancel_acknowledged_at timestamptz,
    cancel_outcome         text,
    cancel_message         text,
    -- As a worker has said: 0 for never; null where none has, and the server's own setting counts.
    report_within_seconds  integer,
    report_due_at          timestamptz
) WITH (fillfactor = 70);

-- The lists by creation: one user's, and everybody's for workers and admins.
CREATE INDEX task_by_user_created ON task (user_id, created_at, task_id);
CREATE INDEX task_by_created ON task (created_at, user_id, task_id);
-- Cancellations that wait for their acknowledgement, and reports that are due: few, and found without a scan.
CREATE INDEX task_cancellation_open ON task (cancel_requested_at)
    WHERE cancel_requested_at IS NOT NULL AND cancel_acknowledged_at IS NULL;
CREATE INDEX task_report_due ON task (report_due_at, user_id, task_id) WHERE report_due_at IS NOT NULL;
-- Last: between indexes that look equally good, as all do while the table is young, the planner takes the newest.
ALTER TABLE task ADD PRIMARY KEY (user_id, task_id);

-- Where each task stands in the lists that go by its last update: one row a task, taken out and put in again with each
-- report. Narrow, and apart from `task`, so that a report touches three small indexes and not every index of a wide row.
CREATE TABLE task_order (
    user_id    text COLLATE "C" NOT NULL,
    -- The task's own, and so unique within the user.
    position   bigint      NOT NULL,
    task_id    text COLLATE "C" NOT NULL,
    status     text        NOT NULL,
    updated_at timestamptz NOT NULL,
    -- The transaction that wrote the last record: for who missed notifications.
    xid        xid8        NOT NULL,
    -- The task's own, for statistics, which read this table alone unless they are of one name.
    started_at  timestamptz,
    finished_at timestamptz,
    -- The task's own, for lists by a tag that few have; null for none.
    tags        text[]
);
CREATE INDEX task_order_by_status ON task_order (user_id, status, position) WITH (deduplicate_items = off);
-- Everybody's tasks, for workers and admins.
CREATE INDEX task_order_by_updated ON task_order (updated_at, user_id, task_id) WITH (deduplicate_items = off);
-- A user's tasks in update order; also what a resumed taskChanged reads. Last, for the planner: see above.
ALTER TABLE task_order ADD PRIMARY KEY (user_id, position);

CREATE SEQUENCE task_record_id AS bigint;

-- Every record, append-only, partitioned by the database's clock so that retention drops whole partitions.
CREATE TABLE task_record (
    id          bigint      NOT NULL DEFAULT nextval('task_record_id'),
    user_id     text COLLATE "C" NOT NULL,
    task_id     text COLLATE "C" NOT NULL,
    step        integer     NOT NULL,
    -- The whole step result, as its writer spelt it: step, result, completed, message, status, error_code, error_message. As
    -- json, which is read far more often than it is looked into. Who appends has seen to it that it can be read as jsonb,
    -- and bounded what comes out: nine kilobytes of "1e131071" would be 131 MB.
    result      json        NOT NULL,
    -- The name in it, which the steps are listed with; null for none.
    step_name   text,
    -- The reporter's word: shown, never relied on.
    "timestamp" timestamptz NOT NULL,
    status      text        NOT NULL,
    position    bigint      NOT NULL,
    recorded_at timestamptz NOT NULL,
    kind        text        NOT NULL DEFAULT 'step',
    record_id   uuid        NOT NULL,
    is_late     boolean     NOT NULL DEFAULT false,
    reported_by text,
    progress    double precision
) PARTITION BY RANGE (recorded_at);
ALTER SEQUENCE task_record_id OWNED BY task_record.id;

-- Without the user: the server's own ids rise with time, so they are added at one end.
CREATE INDEX task_record_by_record_id ON task_record (record_id) WITH (deduplicate_items = off);
CREATE INDEX task_record_by_task ON task_record (user_id, task_id, position) WITH (deduplicate_items = off);
CREATE UNIQUE INDEX task_record_by_position ON task_record (user_id, position, recorded_at);

-- What every server must do about a user, and heed: close what was opened with tokens from before `disconnected_at`. One
-- row for each user of whom that was ever asked.
CREATE TABLE user_control (
    user_id         text COLLATE "C" PRIMARY KEY,
    disconnected_at timestamptz NOT NULL
);
CREATE INDEX user_control_by_time ON user_control (disconnected_at);

-- Which servers there are, and when each gave its last sign of life. Unlogged: whoever lives writes it anew after a crash.
CREATE UNLOGGED TABLE server_heartbeat (
    server_id   text COLLATE "C" PRIMARY KEY,
    version     text        NOT NULL,
    started_at  timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL,
    state       text        NOT NULL,
    connections integer     NOT NULL
);

-- While reports are awaited: when a server was last there to take them, and the end of the last gap in which none was. One
-- row. Unlogged: a crash empties it, and that counts as a gap.
CREATE UNLOGGED TABLE report_clock (
    id          integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    seen_at     timestamptz NOT NULL,
    counts_from timestamptz NOT NULL
);

-- Where a stranger's statement gathers its rows until its end; always empty between statements.
CREATE UNLOGGED TABLE task_inbox (
    id          bigint,
    user_id     text COLLATE "C" NOT NULL,
    task_id     text COLLATE "C" NOT NULL,
    step        integer,
    result      jsonb,
    "timestamp" timestamptz,
    status      text,
    is_cancel   boolean NOT NULL
);
CREATE INDEX task_inbox_by_id ON task_inbox (id) WHERE NOT is_cancel;
CREATE INDEX task_inbox_cancellation ON task_inbox (user_id, task_id) WHERE is_cancel;
