-- Cancelling and acknowledging: the decision is made under the head's lock, and what follows from it goes down the append path.

-- Cancels tasks, each by the same rules, and answers in the order given: CANCELLED, ALREADY_CANCELLED, ALREADY_FINISHED or
-- NOT_FOUND, with the task as it then is.
--   p_force   cancel a finished task, too
--   p_settle  how long a COMPLETED task without total_steps may still be between two steps
--   p_wait_ms  as in taskwire_lock_heads, but more than 0
--   p_record_ids  of the records to come: a call repeated with the same ids answers CANCELLED again and adds nothing
CREATE FUNCTION taskwire_cancel_v1(
    p_users text[], p_tasks text[], p_record_ids uuid[], p_reason text, p_requested_by text, p_force boolean, p_settle interval,
    p_wait_ms integer, p_notify boolean
) RETURNS TABLE (ord integer, outcome text, "position" bigint, recorded_at timestamptz, left_as task)
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET jit = off SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_held  text[];
    v_items integer[];
    v_told  json := json_build_object('step', '', 'result', NULL, 'completed', false, 'message', coalesce(p_reason, ''),
                                      'status', 'cancelled', 'error_code', NULL, 'error_message', NULL);
    v_steps integer[];
BEGIN
    -- Only users that there are: asking about a stranger leaves no row behind. Who comes meanwhile is a stranger, too: what is
    -- not under the lock is not decided about.
    v_held := taskwire_lock_known_heads(p_users, p_wait_ms);
    SELECT array_agg(i.ord ORDER BY i.ord), array_agg(least(t.highest_step, 1000000) + 1 ORDER BY i.ord) INTO v_items, v_steps
    -- Each task once: asked for twice in one call, it is cancelled already the second time.
    FROM (SELECT n.user_id, n.task_id, min(n.ord) AS ord
          FROM unnest(p_users, p_tasks) WITH ORDINALITY AS n (user_id, task_id, ord) GROUP BY 1, 2) i
    JOIN task t ON t.user_id = i.user_id AND t.task_id = i.task_id
    WHERE i.user_id = ANY (v_held)
      AND (t.status IN ('pending', 'running', 'timed_out')
           OR t.status <> 'cancelled' AND p_force
           OR t.status = 'completed' AND t.total_steps IS NULL AND t.updated_at > clock_timestamp() - p_settle);

    RETURN QUERY
    SELECT v_items[a.ord], 'CANCELLED', a.position, a.recorded_at, a.left_as
    FROM taskwire_append_v1(
        ARRAY(SELECT p_users[k] FROM unnest(v_items) WITH ORDINALITY n (k, o) ORDER BY o),
        ARRAY(SELECT p_tasks[k] FROM unnest(v_items) WITH ORDINALITY n (k, o) ORDER BY o),
        array_fill('cancellation_requested'::text, ARRAY[cardinality(v_items)]), v_steps,
        array_fill('cancelled'::text, ARRAY[cardinality(v_items)]), array_fill(v_told, ARRAY[cardinality(v_items)]),
        NULL, array_fill(p_reason, ARRAY[cardinality(v_items)]), NULL, NULL, NULL,
        ARRAY(SELECT p_record_ids[k] FROM unnest(v_items) WITH ORDINALITY n (k, o) ORDER BY o),
        array_fill(p_requested_by, ARRAY[cardinality(v_items)]), NULL, NULL, NULL, p_notify, 'each') a
    WHERE v_items IS NOT NULL;

    RETURN QUERY
    SELECT i.ord::integer,
           CASE WHEN t.user_id IS NULL THEN 'NOT_FOUND'
                WHEN t.status = 'cancelled' AND r.record_id IS NOT NULL THEN 'CANCELLED'
                WHEN t.status = 'cancelled' THEN 'ALREADY_CANCELLED'
                ELSE 'ALREADY_FINISHED' END,
           NULL::bigint, NULL::timestamptz, t
    FROM unnest(p_users, p_tasks, p_record_ids) WITH ORDINALITY AS i (user_id, task_id, record_id, ord)
    LEFT JOIN task t ON t.user_id = i.user_id AND t.task_id = i.task_id AND i.user_id = ANY (v_held)
    LEFT JOIN task_record r ON r.user_id = t.user_id AND r.record_id = i.record_id
         AND r.recorded_at >= t.cancel_requested_at AND r.recorded_at <= t.cancel_requested_at
    WHERE NOT (i.ord = ANY (coalesce(v_items, '{}')));
END
$$;

-- A worker's answer to a cancellation: ACKNOWLEDGED, ALREADY_ACKNOWLEDGED, NOT_REQUESTED or NOT_FOUND, with the task as it
-- then is. The first answer counts. p_outcome: stopped, finished_first, cannot_stop.
CREATE FUNCTION taskwire_acknowledge_v1(
    p_user text, p_task text, p_record_id uuid, p_outcome text, p_message text, p_reported_by text,
    p_wait_ms integer, p_notify boolean
) RETURNS TABLE (outcome text, "position" bigint, recorded_at timestamptz, left_as task)
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan SET jit = off SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_held text[];
    t      task;
    v_same boolean;
BEGIN
    v_held := taskwire_lock_known_heads(ARRAY[p_user], p_wait_ms);
    -- In a later statement, whose snapshot is fresh.
    SELECT * INTO t FROM task WHERE user_id = ANY (v_held) AND task_id = p_task;
    IF t.user_id IS NULL THEN
        RETURN QUERY SELECT 'NOT_FOUND', NULL::bigint, NULL::timestamptz, NULL::task;
    ELSIF t.status <> 'cancelled' THEN
        RETURN QUERY SELECT 'NOT_REQUESTED', NULL::bigint, NULL::timestamptz, t;
    ELSIF t.cancel_acknowledged_at IS NOT NULL THEN
        SELECT EXISTS (SELECT FROM task_record WHERE user_id = p_user AND record_id = p_record_id
            AND recorded_at >= t.cancel_acknowledged_at AND recorded_at <= t.cancel_acknowledged_at) INTO v_same;
        RETURN QUERY SELECT CASE WHEN v_same THEN 'ACKNOWLEDGED' ELSE 'ALREADY_ACKNOWLEDGED' END,
            NULL::bigint, NULL::timestamptz, t;
    ELSE
        RETURN QUERY
        SELECT 'ACKNOWLEDGED', a.position, a.recorded_at, a.left_as
        FROM taskwire_append_v1(ARRAY[p_user], ARRAY[p_task], ARRAY['cancellation_acknowledged'],
            ARRAY[least(t.highest_step, 1000000) + 1], ARRAY['cancelled'],
            ARRAY[json_build_object('step', '', 'result', NULL, 'completed', false, 'message', coalesce(p_message, ''),
                                    'status', 'cancelled', 'error_code', NULL, 'error_message', NULL)],
            NULL, ARRAY[p_message], NULL, NULL, NULL, ARRAY[p_record_id], ARRAY[p_reported_by],
            ARRAY[jsonb_build_object('outcome', p_outcome)], NULL, NULL, p_notify, 'each') a;
    END IF;
END
$$;
