-- Removing what is old: by one session at a time, in small steps that no writer feels. What is kept of a user is always the
-- positions from some number up to the head.

-- Who does it now. A step that changes something asks in its own transaction whether it still may (taskwire_hold_lease); and
-- who takes over from a holder that was not heard of ends that one's session first, for what cannot be in a transaction.
CREATE TABLE maintenance_lease (
    name          text COLLATE "C" PRIMARY KEY,
    -- Rises with each holder.
    term          bigint      NOT NULL DEFAULT 0,
    -- Null while nobody does it.
    holder        text,
    backend_pid   integer,
    backend_start timestamptz,
    renewed_at    timestamptz NOT NULL DEFAULT 'epoch'
) WITH (fillfactor = 50);
INSERT INTO maintenance_lease (name) VALUES ('storage');

-- What is known of it, in one row.
CREATE TABLE storage_upkeep (
    is_only              boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    -- The last time of the schedule that was seen to: what came since then is due, also after a night without a server.
    scheduled_for        timestamptz NOT NULL DEFAULT now(),
    last_run_at          timestamptz,
    last_deleted_records bigint,
    -- Why the last try came to nothing, how many did in a row, and when the next one comes.
    failure              text,
    failures             integer NOT NULL DEFAULT 0,
    retry_at             timestamptz,
    -- Indexes that were built anew by a call of optimizeStorage whose time ran out.
    reindexed            text[] NOT NULL DEFAULT '{}'
) WITH (fillfactor = 50);
INSERT INTO storage_upkeep DEFAULT VALUES;

-- Gives the lease to this session, unless somebody has it who was heard of within p_valid: the term, or null. A time ahead of
-- the clock by more than that counts for nothing: the clock was put back.
CREATE FUNCTION taskwire_take_lease(p_name text, p_holder text, p_valid interval) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
DECLARE
    v_seen maintenance_lease;
    v_term bigint;
BEGIN
    SELECT * INTO v_seen FROM maintenance_lease WHERE name = p_name;
    IF v_seen.holder IS NOT NULL AND abs(extract(epoch FROM clock_timestamp() - v_seen.renewed_at)) < extract(epoch FROM p_valid) THEN
        RETURN NULL;
    END IF;
    -- Without a lock: the one before may be in the middle of a step, and holds the row.
    IF v_seen.holder IS NOT NULL AND EXISTS (
        SELECT FROM pg_stat_activity a WHERE a.pid = v_seen.backend_pid AND a.backend_start = v_seen.backend_start
    ) THEN
        -- A statement of its own: in one condition with the search it might be called for everybody.
        IF NOT pg_terminate_backend(v_seen.backend_pid, 5000) THEN
            RETURN NULL;
        END IF;
    END IF;
    UPDATE maintenance_lease SET
        term = term + 1, holder = p_holder, backend_pid = pg_backend_pid(), renewed_at = clock_timestamp(),
        backend_start = (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid())
    WHERE name = p_name AND term = v_seen.term AND holder IS NOT DISTINCT FROM v_seen.holder AND renewed_at = v_seen.renewed_at
    RETURNING term INTO v_term;
    RETURN v_term;
END
$$;

-- Says that the holder of this term lives, or raises TWL01. Until the transaction ends nobody takes over.
CREATE FUNCTION taskwire_hold_lease(p_name text, p_term bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE maintenance_lease SET renewed_at = clock_timestamp() WHERE name = p_name AND term = p_term AND holder IS NOT NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the lease % has gone to somebody else', p_name USING ERRCODE = 'TWL01';
    END IF;
END
$$;

-- Removes the next p_limit records of a partition, by user and position after (p_user, p_position), that are older than
-- p_cutoff. A record that somebody has locked stays, and with it all later ones of its user: no position is left out.
-- Returns how many have gone, the place of the last one looked at (null where there was none) and how many users were left.
CREATE FUNCTION taskwire_remove_records(
    p_partition text, p_cutoff timestamptz, p_user text, p_position bigint, p_limit integer,
    OUT removed bigint, OUT last_user text, OUT last_position bigint, OUT held_users bigint
) LANGUAGE plpgsql VOLATILE
-- By the index, in its order, whatever the statistics say.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
SET search_path = public, pg_temp AS $$
BEGIN
    EXECUTE format($sql$
        WITH seen AS MATERIALIZED (
            SELECT r.ctid AS at, r.user_id, r.position FROM ONLY %1$I r
            WHERE (r.user_id, r.position) > ($1, $2) AND r.recorded_at < $3
            ORDER BY r.user_id, r.position LIMIT $4
        ), locked AS MATERIALIZED (
            SELECT r.ctid AS at FROM ONLY %1$I r WHERE r.ctid = ANY (ARRAY (SELECT at FROM seen)) FOR UPDATE SKIP LOCKED
        ), held AS MATERIALIZED (
            SELECT s.user_id, min(s.position) AS position FROM seen s LEFT JOIN locked l ON l.at = s.at
            WHERE l.at IS NULL GROUP BY s.user_id
        ), gone AS (
            DELETE FROM ONLY %1$I r WHERE r.ctid = ANY (ARRAY (
                SELECT s.at FROM seen s JOIN locked l ON l.at = s.at LEFT JOIN held h ON h.user_id = s.user_id
                WHERE h.position IS NULL OR s.position < h.position
            )) RETURNING 1
        ), last AS (
            SELECT user_id, position FROM seen ORDER BY user_id DESC, position DESC LIMIT 1
        )
        SELECT (SELECT count(*) FROM gone), last.user_id,
               CASE WHEN h.user_id IS NULL THEN last.position ELSE 9223372036854775807 END,
               (SELECT count(*) FROM held)
        FROM (SELECT) one LEFT JOIN last ON true LEFT JOIN held h ON h.user_id = last.user_id
    $sql$, p_partition) INTO removed, last_user, last_position, held_users USING p_user, p_position, p_cutoff, p_limit;
END
$$;

-- Removes the tasks among the next p_limit, by update after (p_at, p_user, p_task), that were last heard of before p_before and
-- whose last record has gone. Under their users' locks, as everything that changes a task; who is being written stays for the
-- next time.
-- Returns how many have gone, how many were looked at, how many stay for their user's sake, and the place of the last one.
CREATE FUNCTION taskwire_remove_tasks(
    p_before timestamptz, p_keep_unfinished boolean, p_at timestamptz, p_user text, p_task text, p_limit integer,
    OUT removed bigint, OUT seen bigint, OUT held bigint, OUT last_at timestamptz, OUT last_user text, OUT last_task text
) LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
SET search_path = public, pg_temp AS $$
DECLARE
    v_users text[];
    v_tasks text[];
    v_times timestamptz[];
    v_held  text[];
BEGIN
    SELECT coalesce(array_agg(o.user_id), '{}'), array_agg(o.task_id), array_agg(o.updated_at), count(*)
    INTO v_users, v_tasks, v_times, seen
    FROM (SELECT user_id, task_id, updated_at FROM task_order
          WHERE (updated_at, user_id, task_id) > (p_at, p_user, p_task) AND updated_at < p_before
          ORDER BY updated_at, user_id, task_id LIMIT p_limit) o;
    last_at := v_times[seen];
    last_user := v_users[seen];
    last_task := v_tasks[seen];
    SELECT coalesce(array_agg(h.user_id), '{}') INTO v_held FROM (
        SELECT user_id FROM feed_head WHERE user_id = ANY (v_users) FOR NO KEY UPDATE SKIP LOCKED
    ) h;
    -- Later statements: what they read is as the lock found it.
    SELECT count(*) INTO held FROM unnest(v_users, v_tasks) k (user_id, task_id)
    JOIN task t ON t.user_id = k.user_id AND t.task_id = k.task_id
    WHERE t.user_id <> ALL (v_held) AND t.updated_at < p_before AND (t.finished_at IS NOT NULL OR NOT p_keep_unfinished);
    WITH gone AS (
        DELETE FROM task t USING unnest(v_users, v_tasks) k (user_id, task_id)
        WHERE t.user_id = k.user_id AND t.task_id = k.task_id AND t.user_id = ANY (v_held) AND t.updated_at < p_before
          AND (t.finished_at IS NOT NULL OR NOT p_keep_unfinished)
          -- A look-up in one partition for each, never a join with all.
          AND (SELECT true FROM task_record r WHERE r.user_id = t.user_id AND r.position = t.position
               AND r.recorded_at = t.updated_at LIMIT 1) IS NULL
        RETURNING t.user_id, t.position
    ), left_list AS (
        DELETE FROM task_order o USING gone g WHERE o.user_id = g.user_id AND o.position = g.position
    )
    SELECT count(*) INTO removed FROM gone;
END
$$;

-- Lets the partition that is open below reach up to the oldest other one again, after that one's neighbours below have gone;
-- makes it where it has gone itself. Returns whether there was something to do. Taken off and put back in one transaction, an
-- instant under an exclusive lock: set a short lock_timeout and try again later.
CREATE FUNCTION taskwire_close_below() RETURNS boolean
LANGUAGE plpgsql SET timezone = 'UTC' SET search_path = public, pg_temp AS $$
DECLARE
    v_lowest timestamptz;
    v_bound  timestamptz;
    v_is_on  boolean;
BEGIN
    SELECT min((regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$FROM \('([^']+)'\)$re$))[1]::timestamptz) INTO v_lowest
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'task_record'::regclass;
    SELECT (regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$TO \('([^']+)'\)$re$))[1]::timestamptz, true
    INTO v_bound, v_is_on
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'task_record'::regclass AND c.relname = 'task_record_before';
    IF v_bound = v_lowest THEN
        RETURN false;
    END IF;
    IF v_is_on THEN
        ALTER TABLE task_record DETACH PARTITION task_record_before;
    ELSE
        CREATE TABLE IF NOT EXISTS task_record_before (LIKE task_record INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
    END IF;
    EXECUTE format('ALTER TABLE task_record ATTACH PARTITION task_record_before FOR VALUES FROM (MINVALUE) TO (%L)', v_lowest);
    RETURN true;
END
$$;
