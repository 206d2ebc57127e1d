-- The status rules, in one place, obeyed by every writer: what a task is after one more record.
--
-- `taskwire_task_after` is a fold step. The append runs it as a window aggregate over the records of a task, in order,
-- so each record of a batch comes out with the task as that very record left it, and a batch ends as its records
-- would have one by one. It reads no table.
--
-- p_state   what the records before this one in the same batch made of it; null for the first
-- p_stored  the task's row before the batch; null for a new task
-- p_details optional facts: restart, name, tags, total_steps, report_within_seconds, and the outcome of an
--           acknowledgement; a key that is missing or null leaves things as they were, an empty value clears.
--           report_within_default is the server's own, for a task of which no worker has said anything
CREATE FUNCTION taskwire_task_after(
    p_state task, p_stored task,
    p_user_id text, p_task_id text, p_kind text, p_step integer, p_status text, p_progress double precision,
    p_message text, p_error_code text, p_reported_by text, p_details jsonb,
    p_position bigint, p_recorded_at timestamptz, p_record_id uuid
) RETURNS task
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    t         task := coalesce(p_state, p_stored);
    v_new     boolean := t.user_id IS NULL;
    v_restart boolean := false;
    v_within  integer;
    v_status  text := t.status;
    v_step    int4multirange;
    v_failed  integer;
    v_timed   integer;
BEGIN
    IF v_new THEN
        t.user_id := p_user_id;
        t.task_id := p_task_id;
        t.tags := '{}';
        t.step := p_step;
        t.highest_step := p_step;
        t.step_status := p_status;
        t.completed_count := 0;
        t.completed_steps := '{}';
        t.failed_steps := '{}';
        t.timed_out_steps := '{}';
        t.message := '';
        t.created_at := p_recorded_at;
        t.steps_from_position := p_position;
        t.steps_from_at := p_recorded_at;
    END IF;
    t.position := p_position;
    t.record_id := p_record_id;
    t.updated_at := p_recorded_at;

    -- An acknowledgement tells what became of the cancellation and moves nothing.
    IF p_kind = 'cancellation_acknowledged' THEN
        t.cancel_delivered_at := coalesce(t.cancel_delivered_at, p_recorded_at);
        t.cancel_acknowledged_at := p_recorded_at;
        t.cancel_outcome := p_details ->> 'outcome';
        t.cancel_message := nullif(p_message, '');
        RETURN t;
    END IF;

    -- A late report is kept, but the task stays cancelled. The first one shows that the worker has been told,
    -- and one that ends the work for certain is its answer.
    IF p_kind = 'step' AND NOT v_new AND t.status = 'cancelled' THEN
        v_step := int4multirange(int4range(p_step, p_step + 1));
        t.late_completed_steps := coalesce(t.late_completed_steps, t.completed_steps);
        IF p_status = 'completed' THEN
            t.late_completed_steps := t.late_completed_steps + v_step;
        ELSIF t.late_completed_steps @> p_step THEN
            t.late_completed_steps := t.late_completed_steps - v_step;
        END IF;
        t.cancel_delivered_at := coalesce(t.cancel_delivered_at, p_recorded_at);
        IF t.cancel_acknowledged_at IS NULL AND (p_status IN ('cancelled', 'failed', 'timed_out')
            OR p_status = 'completed' AND t.total_steps IS NOT NULL
               AND (SELECT sum(upper(r) - lower(r)) FROM unnest(t.late_completed_steps) r) >= t.total_steps)
        THEN
            t.cancel_acknowledged_at := p_recorded_at;
            t.cancel_outcome := CASE p_status WHEN 'cancelled' THEN 'stopped' ELSE 'finished_first' END;
            t.cancel_message := nullif(p_message, '');
        END IF;
        RETURN t;
    END IF;

    -- From here on the record moves the task.
    t.message := p_message;
    t.error_code := p_error_code;
    t.moved_position := p_position;
    t.moved_at := p_recorded_at;
    IF t.started_at IS NULL AND p_status <> 'pending' THEN
        t.started_at := p_recorded_at;
    END IF;

    IF p_kind = 'cancellation_requested' THEN
        t.status := 'cancelled';
        t.finished_at := p_recorded_at;
        t.report_due_at := NULL;
        t.cancel_requested_at := p_recorded_at;
        t.cancel_requested_by := p_reported_by;
        t.cancel_reason := nullif(p_message, '');
        RETURN t;
    ELSIF p_kind = 'report_overdue' THEN
        t.status := 'timed_out';
        t.finished_at := p_recorded_at;
        t.report_due_at := NULL;
        RETURN t;
    END IF;

    IF p_details IS NOT NULL THEN
        t.name := nullif(coalesce(p_details ->> 'name', t.name), '');
        IF jsonb_typeof(p_details -> 'tags') = 'array' THEN
            t.tags := ARRAY(SELECT jsonb_array_elements_text(p_details -> 'tags'));
        END IF;
        t.total_steps := coalesce((p_details ->> 'total_steps')::integer, t.total_steps);
        t.report_within_seconds := coalesce((p_details ->> 'report_within_seconds')::integer, t.report_within_seconds);
        v_within := (p_details ->> 'report_within_default')::integer;
        v_restart := coalesce((p_details ->> 'restart')::boolean, false);
    END IF;
    IF v_restart THEN
        t.completed_count := 0;
        t.completed_steps := '{}';
        t.failed_steps := '{}';
        t.timed_out_steps := '{}';
        t.steps_from_position := p_position;
        t.steps_from_at := p_recorded_at;
    END IF;

    -- This step leaves the set it was in and enters the one of its latest status.
    IF (p_status = 'completed') <> (t.completed_steps @> p_step) THEN
        v_step := int4multirange(int4range(p_step, p_step + 1));
        IF p_status = 'completed' THEN
            t.completed_steps := t.completed_steps + v_step;
            t.completed_count := t.completed_count + 1;
        ELSE
            t.completed_steps := t.completed_steps - v_step;
            t.completed_count := t.completed_count - 1;
        END IF;
    END IF;
    IF p_status IN ('failed', 'timed_out') OR t.failed_steps <> '{}' OR t.timed_out_steps <> '{}' THEN
        v_step := int4multirange(int4range(p_step, p_step + 1));
        t.failed_steps := CASE p_status WHEN 'failed' THEN t.failed_steps + v_step ELSE t.failed_steps - v_step END;
        t.timed_out_steps := CASE p_status WHEN 'timed_out' THEN t.timed_out_steps + v_step ELSE t.timed_out_steps - v_step END;
    END IF;

    -- The task has the status of its highest step; COMPLETED only once all of total_steps are.
    t.highest_step := greatest(t.highest_step, p_step);
    IF v_new OR v_restart OR p_step >= t.step THEN
        t.step := p_step;
        t.step_status := p_status;
        t.step_progress := p_progress;
    END IF;
    t.status := t.step_status;
    IF t.status = 'completed' AND t.completed_count < t.total_steps THEN
        v_failed := upper(t.failed_steps);
        v_timed := upper(t.timed_out_steps);
        t.status := CASE
            WHEN v_failed IS NULL AND v_timed IS NULL THEN 'running'
            WHEN v_timed IS NULL OR v_failed > v_timed THEN 'failed'
            ELSE 'timed_out' END;
    END IF;

    IF t.status IN ('pending', 'running') THEN
        t.finished_at := NULL;
        t.report_due_at := p_recorded_at + make_interval(secs => nullif(coalesce(t.report_within_seconds, v_within), 0));
    ELSE
        -- A straggler of a lower step that leaves the status as it is has not finished the task.
        IF t.finished_at IS NULL OR t.status <> v_status OR p_step = t.step THEN
            t.finished_at := p_recorded_at;
        END IF;
        t.report_due_at := NULL;
    END IF;
    -- A worker that reports its task as cancelled has stopped by itself.
    IF t.status = 'cancelled' THEN
        t.cancel_requested_at := p_recorded_at;
        t.cancel_requested_by := p_reported_by;
        t.cancel_delivered_at := p_recorded_at;
        t.cancel_acknowledged_at := p_recorded_at;
        t.cancel_outcome := 'stopped';
        t.cancel_message := nullif(p_message, '');
    END IF;
    RETURN t;
END
$$;

CREATE AGGREGATE taskwire_fold(
    task, text, text, text, integer, text, double precision, text, text, text, jsonb, bigint, timestamptz, uuid
) (SFUNC = taskwire_task_after, STYPE = task);
