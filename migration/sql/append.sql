-- The one append path: the only way to change a user's records or tasks, whoever the writer is.
-- Names carry a version; a running server of the version before still finds its own, so the last two stay.

-- Inserts the missing heads and locks all of them.
--   p_users    each once
--   p_lowest   the lowest id of each user's new records, as taskwire_numbered gives it; null to be told nothing of it
--   p_wait_ms  how long to wait for who is held by somebody's open transaction: 0 waits for nobody and leaves them out,
--              more raises lock_not_available when it is over, null waits as the session does
--   held       the users it holds
--   positions, times  of their heads, in the order of p_users; null for who is left out
--   all_held   nobody was left out
--   all_new    of those whom it holds, none has a record under one of the new ids: p_lowest is higher than any of version 7
--              that its user's records ever had. Otherwise, or where it is null, one may have
-- A new user is held while another transaction inserts its head, which an advisory lock of the user tells without waiting.
-- The caller's settings hold here, as its search_path: without any of its own it can be called without a query around it.
CREATE FUNCTION taskwire_lock_heads(
    p_users text[], p_lowest uuid[], p_wait_ms integer,
    OUT held text[], OUT positions bigint[], OUT times timestamptz[], OUT all_held boolean, OUT all_new boolean
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_others  text[];
    v_timeout CONSTANT text := current_setting('lock_timeout');
BEGIN
    -- One user, as where few save at a time, and mostly its head is there and free.
    IF p_wait_ms = 0 AND cardinality(p_users) = 1 THEN
        SELECT p_users, ARRAY[h.position], ARRAY[h.recorded_at], true, p_lowest[1] > h.highest_record_id
        INTO held, positions, times, all_held, all_new
        FROM feed_head h WHERE h.user_id = p_users[1] FOR NO KEY UPDATE SKIP LOCKED;
        IF all_held THEN
            RETURN;
        END IF;
    END IF;
    -- Who waits for nobody may lock in any order: mostly everybody is there and free, and one statement does it.
    IF p_wait_ms = 0 THEN
        FOR v_round IN 1..2 LOOP
            SELECT coalesce(array_agg(l.user_id) FILTER (WHERE l.user_id IS NOT NULL), '{}'), array_agg(l.position),
                   array_agg(l.recorded_at), array_agg(l.asked) FILTER (WHERE l.user_id IS NULL), bool_and(l.is_new)
            INTO held, positions, times, v_others, all_new
            FROM (
                SELECT a.asked, h.user_id, h.position, h.recorded_at,
                       h.user_id IS NULL OR coalesce(a.lowest > h.highest_record_id, false) AS is_new
                FROM unnest(p_users, p_lowest) WITH ORDINALITY a (asked, lowest, ord) LEFT JOIN LATERAL (
                    SELECT * FROM feed_head h WHERE h.user_id = a.asked FOR NO KEY UPDATE SKIP LOCKED
                ) h ON true
                ORDER BY a.ord
            ) l;
            all_held := v_others IS NULL;
            EXIT WHEN all_held OR v_round = 2;
            SELECT array_agg(u) INTO v_others FROM (
                SELECT u FROM unnest(v_others) u WHERE NOT EXISTS (SELECT FROM feed_head h WHERE h.user_id = u) OFFSET 0
            ) missing WHERE pg_try_advisory_xact_lock(hashtextextended(u, 7227));
            EXIT WHEN v_others IS NULL;
            INSERT INTO feed_head (user_id) SELECT u FROM unnest(v_others) u ON CONFLICT DO NOTHING;
        END LOOP;
        RETURN;
    END IF;

    -- Who waits locks in one order, the same for everybody: the new users first, while no head is held.
    IF p_wait_ms > 0 THEN
        PERFORM set_config('lock_timeout', p_wait_ms::text, true);
    END IF;
    LOOP
        SELECT array_agg(u) INTO v_others FROM unnest(p_users) u LEFT JOIN feed_head h ON h.user_id = u WHERE h.user_id IS NULL;
        IF v_others IS NOT NULL THEN
            PERFORM pg_advisory_xact_lock(k) FROM (
                SELECT DISTINCT hashtextextended(u, 7227) k FROM unnest(v_others) u ORDER BY 1
            ) keys;
            INSERT INTO feed_head (user_id) SELECT u FROM unnest(v_others) u ORDER BY u COLLATE "C" ON CONFLICT DO NOTHING;
        END IF;
        -- The wait, as a statement of its own: of those who are held most are by the same transaction, and the next statement
        -- sees what it left, instead of looking at each head once more for having changed meanwhile.
        PERFORM FROM feed_head h WHERE h.user_id = (SELECT min(u COLLATE "C") FROM unnest(p_users) u) FOR NO KEY UPDATE;
        SELECT count(*) = coalesce(cardinality(p_users), 0), array_agg(l.position ORDER BY l.ord), array_agg(l.recorded_at ORDER BY l.ord),
               bool_and(coalesce(l.lowest > l.highest_record_id, false))
        INTO all_held, positions, times, all_new
        FROM (
            SELECT a.ord, a.lowest, h.* FROM (
                SELECT * FROM unnest(p_users, p_lowest) WITH ORDINALITY a (asked, lowest, ord) ORDER BY a.asked COLLATE "C"
            ) a CROSS JOIN LATERAL (SELECT * FROM feed_head h WHERE h.user_id = a.asked FOR NO KEY UPDATE) h
        ) l;
        -- Whoever was erased while we waited has no head any more: it is made anew.
        EXIT WHEN all_held;
    END LOOP;
    held := p_users;
    -- What the caller waits for afterwards is another matter.
    IF p_wait_ms > 0 THEN
        PERFORM set_config('lock_timeout', v_timeout, true);
    END IF;
END
$$;

-- Locks the heads that are there, and makes none: for what changes only what is there already. p_wait_ms as above. Returns
-- whom it holds: nothing may be decided about anybody else, whose head may come the moment after.
CREATE FUNCTION taskwire_lock_known_heads(p_users text[], p_wait_ms integer) RETURNS text[]
LANGUAGE plpgsql VOLATILE SET search_path = public, pg_temp AS $$
DECLARE
    v_held text[];
BEGIN
    IF p_wait_ms = 0 THEN
        SELECT coalesce(array_agg(h.user_id), '{}') INTO v_held
        FROM (SELECT user_id FROM feed_head WHERE user_id = ANY (p_users) FOR NO KEY UPDATE SKIP LOCKED) h;
    ELSE
        IF p_wait_ms > 0 THEN
            PERFORM set_config('lock_timeout', p_wait_ms::text, true);
        END IF;
        SELECT coalesce(array_agg(h.user_id), '{}') INTO v_held
        FROM (SELECT user_id FROM feed_head WHERE user_id = ANY (p_users) ORDER BY user_id FOR NO KEY UPDATE) h;
    END IF;
    RETURN v_held;
END
$$;

-- Tells the feeds whom to look at, and nothing more: the table is the truth. A JSON array of user ids, each once,
-- in payloads of at most 7,900 bytes (PostgreSQL's limit is just under 8,000). Servers call it by themselves, too.
CREATE FUNCTION taskwire_notify(p_users text[]) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    v_payload text;
    v_user    text;
    v_next    text;
BEGIN
    IF p_users = '{}' THEN
        RETURN;
    END IF;
    -- Mostly all of them fit into one.
    v_payload := to_json(p_users)::text;
    IF octet_length(v_payload) <= 7900 THEN
        PERFORM pg_notify('taskwire_feed', v_payload);
        RETURN;
    END IF;
    v_payload := '';
    FOREACH v_user IN ARRAY p_users LOOP
        v_next := to_json(v_user)::text;
        IF octet_length(v_payload) + octet_length(v_next) > 7897 THEN
            PERFORM pg_notify('taskwire_feed', '[' || v_payload || ']');
            v_payload := '';
        END IF;
        v_payload := CASE v_payload WHEN '' THEN v_next ELSE v_payload || ',' || v_next END;
    END LOOP;
    IF v_payload <> '' THEN
        PERFORM pg_notify('taskwire_feed', '[' || v_payload || ']');
    END IF;
END
$$;

-- Whether any of these records may be there already, recorded from p_since to p_latest, or stand in the batch before: mostly
-- none does, and then taskwire_known_records need not be asked, which tells which. (Asking it each time took 2 to 5 % of an
-- append.) Asked itself only where the heads do not tell that all are new: where one is not of version 7, comes twice, or is
-- not higher than its user's before, as when clocks differ or batches overtake each other. To be called by taskwire_append_v1
-- alone, whose settings hold here too. Nothing but the index of record_id may serve this, whatever the statistics say (by the
-- index of their user, all its records were gone through for each new one), and the user must be named, so that tables divided
-- by user are asked at one place: hence an order that this index alone gives.
CREATE FUNCTION taskwire_has_known_records(
    p_users text[], p_record_ids uuid[], p_since timestamptz, p_latest timestamptz
) RETURNS boolean LANGUAGE plpgsql STABLE SET enable_sort = off AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM unnest(p_users, p_record_ids) i (user_id, record_id) CROSS JOIN LATERAL (
            SELECT FROM task_record r
            WHERE r.user_id = i.user_id AND r.record_id >= i.record_id AND r.record_id <= i.record_id
                AND r.recorded_at >= p_since AND r.recorded_at <= p_latest
            ORDER BY r.record_id
            LIMIT 1
        ) d
    ) OR cardinality(p_users) > 1 AND (SELECT count(DISTINCT u) FROM unnest(p_record_ids) u) < cardinality(p_users);
END
$$;

-- Which of these records are there already, recorded from p_since to p_latest, or stand in the batch before: the entries of
-- the result run in parallel, one for each such record, and are null where there is none.
--   p_numbers    in which order those of a user were given (see taskwire_append_v1); null: as they stand
--   p_held       whose records it is about; null: everybody's
--   ords         their places, from 1, as in the arrays
--   positions, times  null for one that is not there yet
--   repeats      the place of the first under the same id in the batch, for each further one
--   conflicts    whether the id stands for another task or step
-- Called, and made as it is, as the one above.
CREATE FUNCTION taskwire_known_records(
    p_users text[], p_tasks text[], p_steps integer[], p_record_ids uuid[], p_numbers integer[], p_held text[],
    p_since timestamptz, p_latest timestamptz,
    OUT ords integer[], OUT positions bigint[], OUT times timestamptz[], OUT repeats integer[], OUT conflicts boolean[]
) LANGUAGE plpgsql STABLE SET enable_sort = off AS $$
BEGIN
    SELECT array_agg(k.ord), array_agg(k.position), array_agg(k.recorded_at), array_agg(k.repeats), array_agg(k.is_conflict)
    INTO ords, positions, times, repeats, conflicts
    FROM (
        SELECT i.ord::integer AS ord, d.position, d.recorded_at,
               nullif(first_value(i.ord) OVER same_record, i.ord)::integer AS repeats,
               coalesce(d.task_id <> i.task_id OR d.step <> i.step,
                        first_value(i.task_id) OVER same_record <> i.task_id
                        OR first_value(i.step) OVER same_record <> i.step) AS is_conflict
        FROM unnest(p_users, p_tasks, p_steps, p_record_ids) WITH ORDINALITY AS i (user_id, task_id, step, record_id, ord)
        LEFT JOIN LATERAL (
            SELECT r.position, r.recorded_at, r.task_id, r.step FROM task_record r
            WHERE r.user_id = i.user_id AND r.record_id >= i.record_id AND r.record_id <= i.record_id
                AND r.recorded_at >= p_since AND r.recorded_at <= p_latest
            ORDER BY r.record_id
            -- A clock that went back may have left two of them.
            LIMIT 1
        ) d ON true
        WHERE p_held IS NULL OR i.user_id = ANY (p_held)
        WINDOW same_record AS (PARTITION BY i.user_id, i.record_id ORDER BY coalesce(p_numbers[i.ord], i.ord))
    ) k
    WHERE k.position IS NOT NULL OR k.repeats IS NOT NULL;
END
$$;

-- What taskwire_append_v1 needs to number records, where its caller did not say, or where some are left out.
--   p_head_of    which user each record is of, from 1
--   p_numbers    in which order those of a user were given; null: as they stand
--   p_left_out   which are left out; null: none
--   numbers      each record's number among its user's, from 1, in the order given
-- And for each user, null where all of theirs are left out:
--   lasts        the place of their last record, from 1
--   lowest       their lowest id; the nil UUID where one is not of version 7, or comes twice (here null for everybody, then)
--   highest      their highest id of version 7, which rises with time; the nil UUID where none is: a random one among the
--                highest would leave none that is higher
CREATE FUNCTION taskwire_numbered(
    p_head_of integer[], p_record_ids uuid[], p_numbers integer[], p_left_out boolean[],
    OUT numbers integer[], OUT lasts integer[], OUT lowest uuid[], OUT highest uuid[]
) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    c_nil  CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
    v_ord  integer;
    v_head integer;
    v_id   uuid;
BEGIN
    FOR v_ord IN SELECT o FROM generate_subscripts(p_head_of, 1) o ORDER BY coalesce(p_numbers[o], o) LOOP
        CONTINUE WHEN p_left_out[v_ord];
        v_head := p_head_of[v_ord];
        v_id := CASE WHEN get_byte(uuid_send(p_record_ids[v_ord]), 6) >> 4 = 7 THEN p_record_ids[v_ord] ELSE c_nil END;
        numbers[v_ord] := coalesce(numbers[lasts[v_head]], 0) + 1;
        lowest[v_head] := least(lowest[v_head], v_id);
        highest[v_head] := greatest(highest[v_head], v_id);
        lasts[v_head] := v_ord;
    END LOOP;
    IF (SELECT count(DISTINCT (i.head, i.id)) FROM unnest(p_head_of, p_record_ids) i (head, id)) < cardinality(p_record_ids) THEN
        lowest := NULL;
    END IF;
END
$$;

-- Appends records in the order given. The arrays run in parallel, one entry a record:
--   p_kinds        step, cancellation_requested, cancellation_acknowledged, report_overdue
--   p_results      the whole step result
--   p_step_names, p_messages, p_error_codes  what is in it for the list of steps and for the task; null for none
--   p_record_ids   makes the record idempotent within its user: for seven days, and within the batch
--   p_progress, p_timestamps, p_reported_by, p_details (see taskwire_task_after)   null for none; any of these arrays, too, and
--                  p_step_names and p_error_codes, where no record has one
--   p_ids          ids already given by the view; null for new ones
--   p_heads        the users, each once; null where all of what follows is to be found out
--   p_head_of      which of them each record is of, from 1
--   p_numbers, p_lasts, p_lowest, p_highest  as taskwire_numbered gives them. With them the records of a user may stand in any
--                  order, as long as those of one task stand in theirs: by user and task they are found and sorted soonest
-- p_wait_ms: as in taskwire_lock_heads; the records of users left out are left out.
-- p_notify: false where the caller notifies after its commit, and where the queue for notifications is full.
-- p_states: which states of tasks come back: `each`, as each record left it; `last`, with the last record of each task;
-- `cancellation_pending`, with the last record of those whose cancellation waits for its acknowledgement, and where all records
-- are new the others have no row either: for who waits for users, so that none is left out.
--
-- Returns one row a record it took (but for what p_states says): its place (`ord`, from 1, as in the arrays), its position,
-- whether it was there before, and the task as this record left it (null for one that was there before: read it). One that
-- stands in the batch before, under the same record_id, has that one's place as `repeats`, and no position. A record left out
-- has no row. Where a record_id stands for another task or step already, nothing is written and that record comes back as a
-- conflict.
CREATE FUNCTION taskwire_append_v1(
    p_users text[], p_tasks text[], p_kinds text[], p_steps integer[], p_statuses text[], p_results json[],
    p_step_names text[], p_messages text[], p_error_codes text[], p_progress double precision[], p_timestamps timestamptz[],
    p_record_ids uuid[], p_reported_by text[], p_details jsonb[], p_ids bigint[], p_wait_ms integer, p_notify boolean,
    p_states text, p_heads text[] DEFAULT NULL, p_head_of integer[] DEFAULT NULL, p_numbers integer[] DEFAULT NULL,
    p_lasts integer[] DEFAULT NULL, p_lowest uuid[] DEFAULT NULL, p_highest uuid[] DEFAULT NULL
) RETURNS TABLE (ord integer, "position" bigint, recorded_at timestamptz, is_late boolean, is_duplicate boolean,
                 is_conflict boolean, repeats integer, left_as task)
LANGUAGE plpgsql VOLATILE
-- Planned once a connection, often while the tables are still empty, so the plan must not depend on their size: look-ups
-- by key, one after the other. (With hash joins and scans allowed, a plan of the first minute turned quadratic.)
SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET work_mem = '64MB' SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_heads     record;
    -- Of the heads, as they are before.
    v_before    bigint[];
    v_since     timestamptz[];
    v_now       timestamptz;
    v_xid       xid8;
    -- Whether some of the records may be there already, or stand in the batch before.
    v_may_know  boolean;
    v_latest    timestamptz;
    -- Of the records that are there already or stand in the batch before.
    v_known     integer[];
    v_positions bigint[];
    v_times     timestamptz[];
    v_repeats   integer[];
    v_conflicts boolean[];
    v_ord       integer;
    -- Whether it is one of those, for each record of the batch; null where none is.
    v_left_out  boolean[];
BEGIN
    -- The usual ones first: a record's is compared with one after the other.
    IF NOT p_statuses <@ ARRAY['running', 'completed', 'pending', 'failed', 'cancelled', 'timed_out']
        OR NOT p_kinds <@ ARRAY['step', 'cancellation_requested', 'cancellation_acknowledged', 'report_overdue']
    THEN
        RAISE check_violation USING MESSAGE = 'a record has an unknown status or kind';
    END IF;
    IF p_heads IS NULL THEN
        p_heads := ARRAY(SELECT DISTINCT u COLLATE "C" FROM unnest(p_users) u ORDER BY 1);
        p_head_of := ARRAY(SELECT (dense_rank() OVER (ORDER BY i.u COLLATE "C"))::integer
                           FROM unnest(p_users) WITH ORDINALITY i (u, ord) ORDER BY i.ord);
        SELECT n.* INTO p_numbers, p_lasts, p_lowest, p_highest FROM taskwire_numbered(p_head_of, p_record_ids, NULL, NULL) n;
    END IF;
    v_heads := taskwire_lock_heads(p_heads, p_lowest, p_wait_ms);
    v_before := v_heads.positions;
    v_since := v_heads.times;
    -- Under the lock: so recorded_at rises with position, and what later statements read is fresh.
    v_now := clock_timestamp();
    v_xid := pg_current_xact_id();
    v_may_know := v_heads.all_new IS NOT TRUE;
    IF v_may_know THEN
        v_latest := (SELECT max(t) FROM unnest(v_since) t);
        v_may_know := taskwire_has_known_records(p_users, p_record_ids, v_now - interval '7 days', v_latest);
    END IF;
    IF v_may_know THEN
        SELECT k.ords, k.positions, k.times, k.repeats, k.conflicts
        INTO v_known, v_positions, v_times, v_repeats, v_conflicts
        FROM taskwire_known_records(p_users, p_tasks, p_steps, p_record_ids, p_numbers,
                                    CASE WHEN NOT v_heads.all_held THEN v_heads.held END, v_now - interval '7 days',
                                    v_latest) k;
    END IF;
    IF v_known IS NOT NULL THEN
        RETURN QUERY
        SELECT k.ord, k.position, k.recorded_at, false, NOT k.is_conflict, k.is_conflict, k.repeats, NULL::task
        FROM unnest(v_known, v_positions, v_times, v_repeats, v_conflicts) k (ord, position, recorded_at, repeats, is_conflict);
        IF true = ANY (v_conflicts) THEN
            RETURN;
        END IF;
        v_left_out := array_fill(false, ARRAY[cardinality(p_users)]);
        FOREACH v_ord IN ARRAY v_known LOOP
            v_left_out[v_ord] := true;
        END LOOP;
        SELECT n.numbers, n.lasts, n.highest INTO p_numbers, p_lasts, p_highest
        FROM taskwire_numbered(p_head_of, p_record_ids, p_numbers, v_left_out) n;
    END IF;
    RETURN QUERY
    WITH input AS (
        -- What a record is found and ordered by; all else is taken where it is written. By subscript, which is quicker than so
        -- many arrays unnested beside each other.
        SELECT g.ord, p_users[g.ord] AS user_id, p_tasks[g.ord] AS task_id, p_record_ids[g.ord] AS record_id,
               v_before[p_head_of[g.ord]] + p_numbers[g.ord] AS position,
               greatest(v_now, v_since[p_head_of[g.ord]]) AS recorded_at
        FROM generate_series(1, cardinality(p_users)) g (ord)
        WHERE v_before[p_head_of[g.ord]] IS NOT NULL AND (v_left_out IS NULL OR NOT v_left_out[g.ord])
    ), folded AS MATERIALIZED (
        SELECT i.*, t.ctid AS stored_at, t.position AS stored_position, lead(i.ord) OVER of_task IS NULL AS is_last,
               taskwire_fold(t, i.user_id, i.task_id, p_kinds[i.ord], p_steps[i.ord], p_statuses[i.ord], p_progress[i.ord],
                   coalesce(p_messages[i.ord], ''), p_error_codes[i.ord], p_reported_by[i.ord], p_details[i.ord], i.position,
                   i.recorded_at, i.record_id) OVER of_task AS state
        FROM input i LEFT JOIN task t ON t.user_id = i.user_id AND t.task_id = i.task_id
        WINDOW of_task AS (PARTITION BY i.user_id, i.task_id ORDER BY i.ord ROWS UNBOUNDED PRECEDING)
    ), record_written AS (
        INSERT INTO task_record (id, user_id, task_id, step, result, step_name, "timestamp", status, position, recorded_at,
                                 kind, record_id, is_late, reported_by, progress)
        SELECT coalesce(p_ids[f.ord], nextval('task_record_id')), f.user_id, f.task_id, p_steps[f.ord], p_results[f.ord],
               p_step_names[f.ord], coalesce(p_timestamps[f.ord], f.recorded_at), p_statuses[f.ord], f.position, f.recorded_at,
               p_kinds[f.ord], f.record_id, p_kinds[f.ord] = 'step' AND (f.state).moved_position <> f.position,
               p_reported_by[f.ord], p_progress[f.ord]
        FROM folded f
    ), task_begun AS (
        INSERT INTO task SELECT (f.state).* FROM folded f WHERE f.is_last AND f.stored_at IS NULL
    ), task_moved AS (
        -- By ctid: the head's lock keeps everybody else from the row.
        UPDATE task t SET
            (position, record_id, name, tags, status, step, highest_step, step_status, step_progress, total_steps, completed_count,
             completed_steps, failed_steps, timed_out_steps, late_completed_steps, message, error_code, moved_position, moved_at,
             steps_from_position, steps_from_at, started_at, updated_at, finished_at, cancel_requested_at, cancel_requested_by,
             cancel_reason, cancel_delivered_at, cancel_acknowledged_at, cancel_outcome, cancel_message, report_within_seconds,
             report_due_at)
            = ROW ((f.state).position, (f.state).record_id, (f.state).name, (f.state).tags, (f.state).status, (f.state).step,
               (f.state).highest_step, (f.state).step_status, (f.state).step_progress, (f.state).total_steps,
               (f.state).completed_count, (f.state).completed_steps, (f.state).failed_steps,
               (f.state).timed_out_steps, (f.state).late_completed_steps, (f.state).message,
               (f.state).error_code, (f.state).moved_position, (f.state).moved_at,
               (f.state).steps_from_position, (f.state).steps_from_at, (f.state).started_at,
               (f.state).updated_at, (f.state).finished_at, (f.state).cancel_requested_at,
               (f.state).cancel_requested_by, (f.state).cancel_reason, (f.state).cancel_delivered_at,
               (f.state).cancel_acknowledged_at, (f.state).cancel_outcome, (f.state).cancel_message,
               (f.state).report_within_seconds, (f.state).report_due_at)
        FROM folded f WHERE f.is_last AND t.ctid = f.stored_at AND t.user_id = f.user_id AND t.task_id = f.task_id
    ), order_left AS (
        DELETE FROM task_order o USING folded f WHERE f.is_last AND o.user_id = f.user_id AND o.position = f.stored_position
    ), order_entered AS (
        INSERT INTO task_order (user_id, position, task_id, status, updated_at, xid, started_at, finished_at, tags)
        SELECT f.user_id, f.position, f.task_id, (f.state).status, f.recorded_at, v_xid, (f.state).started_at,
               (f.state).finished_at, nullif((f.state).tags, '{}')
        FROM folded f WHERE f.is_last
    ), head_written AS (
        UPDATE feed_head h SET position = f.position, recorded_at = f.recorded_at, record_id = f.record_id,
            highest_record_id = greatest(h.highest_record_id, p_highest[p_head_of[f.ord]]), xid = v_xid
        FROM folded f WHERE f.ord = p_lasts[p_head_of[f.ord]] AND h.user_id = f.user_id
    )
    SELECT f.ord, f.position, f.recorded_at, p_kinds[f.ord] = 'step' AND (f.state).moved_position <> f.position, false, false,
           NULL::integer, CASE WHEN p_states = 'each' OR f.is_last THEN f.state END
    FROM folded f
    WHERE p_states <> 'cancellation_pending' OR v_known IS NOT NULL
        OR f.is_last AND (f.state).cancel_requested_at IS NOT NULL AND (f.state).cancel_acknowledged_at IS NULL;

    -- Last of all: whoever commits a notification holds a lock of the whole cluster meanwhile.
    IF p_notify THEN
        PERFORM taskwire_notify(v_heads.held);
    END IF;
END
$$;
