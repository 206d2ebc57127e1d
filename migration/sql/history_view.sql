-- The view for old clients and strangers: the old table's seven columns and types, late records shown as cancelled,
-- so that "ORDER BY step DESC" tells them the truth. What they insert goes down the append path like everything else.
CREATE VIEW task_history AS
SELECT id, user_id, task_id, step, result::jsonb AS result, ("timestamp" AT TIME ZONE 'UTC') AS "timestamp",
       CASE WHEN is_late THEN 'cancelled' ELSE status END AS status
FROM task_record;
ALTER VIEW task_history ALTER COLUMN status SET DEFAULT 'pending';

-- Refuses what could not be read back: numbers that are no IEEE double (a few bytes of "1e131071" spell out as 131 KB),
-- nesting beyond 64, and over-long values by the length of their text.
CREATE FUNCTION taskwire_check_result(p_result jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF p_result IS NULL THEN
        RAISE not_null_violation USING MESSAGE = 'result must not be null';
    END IF;
    IF pg_column_size(p_result) > 327680 THEN
        RAISE string_data_right_truncation USING MESSAGE = 'result is too large',
            HINT = 'Its text may have 327,680 bytes at the most.';
    END IF;
    IF jsonb_path_exists(p_result, 'strict $.**{65 to last} ? (@.type() == "object" || @.type() == "array")') THEN
        RAISE program_limit_exceeded USING MESSAGE = 'result is nested too deeply',
            HINT = 'Its "result" may have 64 levels at the most.';
    END IF;
    IF jsonb_path_exists(p_result, 'strict $.** ? (@.type() == "number" && (@ > 1e308 || @ < -1e308
        || (@ > -1e-308 && @ < 1e-308 && @ != 0)))')
    THEN
        RAISE numeric_value_out_of_range USING MESSAGE = 'result holds a number that is no IEEE double',
            HINT = 'Numbers lie between -1e308 and 1e308.';
    END IF;
    IF octet_length(p_result::text) > 327680 THEN
        RAISE string_data_right_truncation USING MESSAGE = 'result is too large',
            HINT = 'Its text may have 327,680 bytes at the most.';
    END IF;
    IF octet_length(p_result ->> 'message') > 16384 OR octet_length(p_result ->> 'error_message') > 16384
        OR char_length(p_result ->> 'error_code') > 64 OR char_length(p_result ->> 'step') > 255
    THEN
        RAISE string_data_right_truncation USING MESSAGE = 'result has an over-long text',
            HINT = 'message and error_message: 16,384 bytes; error_code: 64 characters; step: 255 characters.';
    END IF;
END
$$;

-- Row by row: check and gather. The statement's rows are appended together at its end, in one lock order.
CREATE FUNCTION taskwire_history_insert() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_at timestamptz := coalesce(NEW."timestamp", now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC';
BEGIN
    IF NEW.user_id IS NULL OR char_length(NEW.user_id) NOT BETWEEN 1 AND 255 THEN
        RAISE check_violation USING MESSAGE = 'user_id must have 1 to 255 characters';
    END IF;
    IF NEW.task_id IS NULL OR char_length(NEW.task_id) NOT BETWEEN 1 AND 255 THEN
        RAISE check_violation USING MESSAGE = 'task_id must have 1 to 255 characters';
    END IF;
    IF NEW.step IS NULL OR NEW.step NOT BETWEEN 0 AND 1000000 THEN
        RAISE check_violation USING MESSAGE = 'step must be 0 to 1000000';
    END IF;
    IF NEW.status IS NULL OR NEW.status NOT IN ('pending', 'running', 'completed', 'failed', 'cancelled', 'timed_out') THEN
        RAISE check_violation USING MESSAGE = 'status must be one of pending, running, completed, failed, cancelled, timed_out',
            HINT = 'In lower case.';
    END IF;
    IF v_at < '0001-01-01 00:00:00+00' THEN
        RAISE datetime_field_overflow USING MESSAGE = 'timestamp must not be before the year 1';
    END IF;
    PERFORM taskwire_check_result(NEW.result);
    -- A clock that is ahead is no reason to lose a report.
    v_at := least(v_at, clock_timestamp());
    NEW.id := nextval('task_record_id');
    NEW."timestamp" := v_at AT TIME ZONE 'UTC';
    INSERT INTO task_inbox (id, user_id, task_id, step, result, "timestamp", status, is_cancel)
    VALUES (NEW.id, NEW.user_id, NEW.task_id, NEW.step, NEW.result, v_at, NEW.status, false);
    RETURN NEW;
END
$$;

CREATE FUNCTION taskwire_history_inserted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    b      record;
    v_last bigint := 0;
BEGIN
    -- All heads first, in the order that everybody locks them, however many pieces follow.
    PERFORM taskwire_lock_heads(ARRAY(SELECT DISTINCT user_id FROM task_inbox WHERE NOT is_cancel), NULL, NULL);
    LOOP
        WITH taken AS (
            DELETE FROM task_inbox WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM task_inbox WHERE NOT is_cancel AND id > v_last ORDER BY id LIMIT 1000)) RETURNING *
        )
        SELECT array_agg(user_id ORDER BY id) users, array_agg(task_id ORDER BY id) tasks, array_agg(step ORDER BY id) steps,
               array_agg(result::json ORDER BY id) results, array_agg(nullif(result ->> 'step', '') ORDER BY id) step_names,
               array_agg(result ->> 'message' ORDER BY id) messages,
               array_agg(nullif(result ->> 'error_code', '') ORDER BY id) error_codes,
               array_agg("timestamp" ORDER BY id) timestamps, array_agg(status ORDER BY id) statuses,
               array_agg(id ORDER BY id) ids, max(id) AS last_id, count(*)::integer AS n
        INTO b FROM taken;
        EXIT WHEN b.n = 0;
        v_last := b.last_id;
        PERFORM taskwire_append_v1(b.users, b.tasks, array_fill('step'::text, ARRAY[b.n]), b.steps, b.statuses, b.results,
            b.step_names, b.messages, b.error_codes, NULL, b.timestamps,
            ARRAY(SELECT gen_random_uuid() FROM generate_series(1, b.n)), NULL, NULL, b.ids, NULL, true, 'last');
    END LOOP;
    RETURN NULL;
END
$$;

-- The old class cancels by `UPDATE … SET status = 'cancelled'` over all rows of a task: one cancellation by the rules.
CREATE FUNCTION taskwire_history_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.status IS DISTINCT FROM 'cancelled'
        OR (NEW.id, NEW.user_id, NEW.task_id, NEW.step, NEW.result)
           IS DISTINCT FROM (OLD.id, OLD.user_id, OLD.task_id, OLD.step, OLD.result)
    THEN
        RAISE feature_not_supported USING MESSAGE = 'task_history is append-only',
            HINT = 'Insert a new record instead; UPDATE can only set status = ''cancelled''.';
    END IF;
    INSERT INTO task_inbox (user_id, task_id, is_cancel)
    SELECT OLD.user_id, OLD.task_id, true
    WHERE NOT EXISTS (
        SELECT FROM task_inbox i WHERE i.user_id = OLD.user_id AND i.task_id = OLD.task_id AND i.is_cancel);
    RETURN NEW;
END
$$;

CREATE FUNCTION taskwire_history_updated() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_users text[];
    v_tasks text[];
BEGIN
    WITH taken AS (DELETE FROM task_inbox WHERE is_cancel RETURNING *)
    SELECT array_agg(user_id), array_agg(task_id) INTO v_users, v_tasks FROM (SELECT DISTINCT user_id, task_id FROM taken) t;
    IF v_users IS NOT NULL THEN
        PERFORM taskwire_cancel_v1(v_users, v_tasks, ARRAY(SELECT gen_random_uuid() FROM unnest(v_users)), NULL, NULL, false,
            interval '5 minutes', NULL, true);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION taskwire_history_delete() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE feature_not_supported USING MESSAGE = 'task_history is append-only',
        HINT = 'Records are never removed one by one.';
END
$$;

CREATE TRIGGER task_history_insert INSTEAD OF INSERT ON task_history FOR EACH ROW EXECUTE FUNCTION taskwire_history_insert();
CREATE TRIGGER task_history_inserted AFTER INSERT ON task_history FOR EACH STATEMENT EXECUTE FUNCTION taskwire_history_inserted();
CREATE TRIGGER task_history_update INSTEAD OF UPDATE ON task_history FOR EACH ROW EXECUTE FUNCTION taskwire_history_update();
CREATE TRIGGER task_history_updated AFTER UPDATE ON task_history FOR EACH STATEMENT EXECUTE FUNCTION taskwire_history_updated();
CREATE TRIGGER task_history_delete INSTEAD OF DELETE ON task_history FOR EACH ROW EXECUTE FUNCTION taskwire_history_delete();

-- The role to give to strangers: the view, nothing else. `GRANT task_history_writer TO somebody`. Roles belong to the whole
-- cluster; where ours may not create one, the operator does, and grants the view.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'task_history_writer') THEN
        CREATE ROLE task_history_writer NOLOGIN;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN RAISE NOTICE 'role task_history_writer not created: no right to create roles';
END
$$;
-- Nobody else hangs these on a table of their own.
REVOKE EXECUTE ON FUNCTION taskwire_history_insert(), taskwire_history_inserted(), taskwire_history_update(),
    taskwire_history_updated() FROM PUBLIC;
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'task_history_writer') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON task_history TO task_history_writer;
    END IF;
END
$$;
