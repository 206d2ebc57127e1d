-- Erasing a user: all that is kept of one, step by step, each under the user's lock. The head goes last, when nothing else is
-- left: what is saved meanwhile goes too, and whoever saves afterwards begins at position 1.

-- Removes up to p_limit of the user's oldest records; where no more than these are left, up to as many tasks, too; and where no
-- more than these are left either, the rest. Call it until is_done.
--   p_wait_ms  how long to wait for who holds the user, more than 0
--   p_notify   false only where the queue for notifications is full: then the feed finds it by its check
CREATE FUNCTION taskwire_erase_v1(
    p_user text, p_limit integer, p_wait_ms integer, p_notify boolean,
    OUT removed_records bigint, OUT removed_tasks bigint, OUT is_done boolean
) LANGUAGE plpgsql VOLATILE
-- By the indexes, in their order, whatever the statistics say.
SET plan_cache_mode = force_generic_plan SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET search_path = public, pg_temp AS $$
DECLARE
    v_from  timestamptz;
    v_until timestamptz;
    v_last  bigint;
BEGIN
    removed_records := 0;
    removed_tasks := 0;
    is_done := false;
    IF taskwire_lock_known_heads(ARRAY[p_user], p_wait_ms) = '{}' THEN
        -- Without a head there are neither records nor tasks; those that come meanwhile are not ours to touch without its lock.
        DELETE FROM user_control WHERE user_id = p_user;
        is_done := true;
        RETURN;
    END IF;
    -- In all partitions, once a step: where the oldest is nobody knows.
    SELECT min(f.recorded_at), max(f.recorded_at), max(f.position) INTO v_from, v_until, v_last
    FROM (SELECT position, recorded_at FROM task_record WHERE user_id = p_user ORDER BY position LIMIT p_limit) f;
    IF v_last IS NOT NULL THEN
        DELETE FROM task_record
        WHERE user_id = p_user AND position <= v_last AND recorded_at >= v_from AND recorded_at <= v_until;
        GET DIAGNOSTICS removed_records = ROW_COUNT;
        IF removed_records >= p_limit THEN
            RETURN;
        END IF;
    END IF;
    WITH gone AS (
        DELETE FROM task WHERE user_id = p_user AND task_id = ANY (ARRAY(
            SELECT task_id FROM task WHERE user_id = p_user ORDER BY task_id LIMIT p_limit)) RETURNING position
    ), left_lists AS (
        DELETE FROM task_order o USING gone g WHERE o.user_id = p_user AND o.position = g.position
    )
    SELECT count(*) INTO removed_tasks FROM gone;
    IF removed_tasks >= p_limit THEN
        RETURN;
    END IF;
    DELETE FROM user_control WHERE user_id = p_user;
    DELETE FROM feed_head WHERE user_id = p_user;
    is_done := true;
    IF FOUND AND p_notify THEN
        PERFORM pg_notify('taskwire_control', json_build_object('erased', p_user)::text);
    END IF;
END
$$;
