-- Reports that are due: noticing those that did not come, and signs of life. A due time stands in the task's row and moves
-- under the user's head lock, as everything else there does.

-- A server asks this about once a second: so it is known when one was there to take reports, and when none was. Such a gap
-- does not count: at its end every due time begins anew.
--   p_seen_at   when this server asked before; null for the first time
--   p_here_for  for how long it has certainly been there: if there was a gap, it ended then
--   asked_at    now
--   has_due     some task awaits a report. Where none does nothing is written: an idle database stays idle
--   is_gap      there was a gap, and this is the server that has noticed
CREATE FUNCTION taskwire_report_clock_v1(
    p_seen_at timestamptz, p_here_for interval, OUT asked_at timestamptz, OUT has_due boolean, OUT is_gap boolean
) LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off SET enable_bitmapscan = off SET search_path = public, pg_temp AS $$
DECLARE
    -- A server that is well asks at least that often.
    c_gap CONSTANT interval := '2 seconds';
    v_here_since timestamptz;
BEGIN
    asked_at := clock_timestamp();
    v_here_since := asked_at - p_here_for;
    is_gap := false;
    has_due := EXISTS (SELECT FROM task WHERE report_due_at IS NOT NULL);
    -- One write in 0.7 s, however many servers ask.
    IF NOT has_due OR EXISTS (
        SELECT FROM report_clock c WHERE c.seen_at > asked_at - interval '700 milliseconds' AND c.seen_at < asked_at + c_gap
    ) THEN
        RETURN;
    END IF;
    INSERT INTO report_clock AS c (seen_at, counts_from)
    VALUES (asked_at, CASE WHEN p_seen_at > asked_at - c_gap THEN '-infinity' ELSE v_here_since END)
    ON CONFLICT (id) DO UPDATE SET seen_at = asked_at, counts_from =
        CASE WHEN greatest(c.seen_at, p_seen_at) BETWEEN asked_at - c_gap AND asked_at + c_gap THEN c.counts_from
             ELSE v_here_since END
    RETURNING c.counts_from = v_here_since INTO is_gap;
END
$$;

-- Looks at tasks whose report may be overdue. Under the lock the due time may turn out to have moved, to begin anew since
-- the last gap, or to be past: then REPORT_OVERDUE goes down the append path. Several servers may call this at once.
--   p_record_ids  of the records to come
--   p_within      the server's own setting, for tasks of which no worker has said anything; null for none
--   p_wait_ms     0 passes over users who are held by somebody, more waits so long for all of them
-- Gives a row for each task it passed over (is_held), and for each that was overdue, with its record's place.
CREATE FUNCTION taskwire_overdue_v1(
    p_users text[], p_tasks text[], p_record_ids uuid[], p_within integer, p_wait_ms integer, p_notify boolean
) RETURNS TABLE (ord integer, is_held boolean, "position" bigint, recorded_at timestamptz, left_as task)
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_hashjoin = off
SET enable_mergejoin = off SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_held        text[];
    v_now         timestamptz;
    v_counts_from timestamptz;
    v_items       integer[];
    v_steps       integer[];
    v_messages    text[];
    v_results     json[];
BEGIN
    v_held := taskwire_lock_known_heads(p_users, p_wait_ms);
    -- In later statements, whose snapshot is fresh.
    v_now := clock_timestamp();
    SELECT max(c.counts_from) INTO v_counts_from FROM report_clock c;
    WITH due AS MATERIALIZED (
        SELECT i.ord, t.ctid AS stored_at, t.highest_step, t.report_due_at, w.seconds IS NOT NULL AS is_on,
               greatest(t.report_due_at, v_counts_from + make_interval(secs => w.seconds)) AS due_at
        FROM unnest(p_users, p_tasks) WITH ORDINALITY AS i (user_id, task_id, ord)
        JOIN task t ON t.user_id = i.user_id AND t.task_id = i.task_id
        CROSS JOIN LATERAL (SELECT nullif(coalesce(t.report_within_seconds, p_within), 0) AS seconds) w
        WHERE i.user_id = ANY (v_held) AND t.report_due_at IS NOT NULL
    ), moved AS (
        -- By ctid: the head's lock keeps everybody else from the row.
        UPDATE task t SET report_due_at = CASE WHEN d.is_on THEN d.due_at END
        FROM due d WHERE t.ctid = d.stored_at AND (NOT d.is_on OR d.due_at > v_now AND d.due_at > d.report_due_at)
    )
    SELECT array_agg(d.ord::integer ORDER BY d.ord), array_agg(d.highest_step ORDER BY d.ord),
           array_agg('No report came by ' || to_char(d.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') ORDER BY d.ord)
    INTO v_items, v_steps, v_messages FROM due d WHERE d.is_on AND d.due_at <= v_now;

    RETURN QUERY
    SELECT i.ord::integer, true, NULL::bigint, NULL::timestamptz, NULL::task
    FROM unnest(p_users) WITH ORDINALITY AS i (user_id, ord) WHERE NOT i.user_id = ANY (v_held);
    IF v_items IS NULL THEN
        RETURN;
    END IF;
    v_results := ARRAY(
        SELECT json_build_object('step', '', 'result', NULL, 'completed', false, 'message', n.message, 'status', 'timed_out',
                                 'error_code', NULL, 'error_message', NULL)
        FROM unnest(v_messages) WITH ORDINALITY n (message, o) ORDER BY n.o);
    RETURN QUERY
    SELECT v_items[a.ord], false, a.position, a.recorded_at, a.left_as
    FROM taskwire_append_v1(
        ARRAY(SELECT p_users[k] FROM unnest(v_items) WITH ORDINALITY n (k, o) ORDER BY o),
        ARRAY(SELECT p_tasks[k] FROM unnest(v_items) WITH ORDINALITY n (k, o) ORDER BY o),
        array_fill('report_overdue'::text, ARRAY[cardinality(v_items)]), v_steps,
        array_fill('timed_out'::text, ARRAY[cardinality(v_items)]), v_results, NULL, v_messages,
        NULL, NULL, NULL, ARRAY(SELECT p_record_ids[k] FROM unnest(v_items) WITH ORDINALITY n (k, o) ORDER BY o),
        NULL, NULL, NULL, 0, p_notify, 'each') a;
END
$$;

-- A sign of life: the next report is due anew from now on. Writes no record, and nothing at all where no report is due.
-- Gives the task as it then is; nothing where there is none. p_within, p_wait_ms: as above, but more than 0.
CREATE FUNCTION taskwire_report_alive_v1(p_user text, p_task text, p_within integer, p_wait_ms integer) RETURNS SETOF task
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET jit = off SET search_path = public, pg_temp AS $$
DECLARE
    v_held text[];
BEGIN
    IF EXISTS (SELECT FROM task WHERE user_id = p_user AND task_id = p_task AND report_due_at IS NOT NULL) THEN
        v_held := taskwire_lock_known_heads(ARRAY[p_user], p_wait_ms);
        UPDATE task SET report_due_at =
            clock_timestamp() + make_interval(secs => nullif(coalesce(report_within_seconds, p_within), 0))
        WHERE user_id = ANY (v_held) AND task_id = p_task AND report_due_at IS NOT NULL;
    END IF;
    RETURN QUERY SELECT * FROM task WHERE user_id = p_user AND task_id = p_task;
END
$$;
