-- Partitions of task_record: one a week, the first open below (task_record_before), the last open above
-- (task_record_after), so that a record always has a place. Bounds are written in +00.
-- Never called by an append: creating a partition there would deadlock with other writers.

-- A week's partition, named by its Monday.
CREATE FUNCTION taskwire_partition_name(p_from timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT 'task_record_' || to_char(p_from AT TIME ZONE 'UTC', 'YYYYMMDD')
$$;

CREATE FUNCTION taskwire_week(p_at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
    SELECT date_trunc('week', p_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
$$;

-- The lower bound of the partition that is open above.
CREATE FUNCTION taskwire_open_from() RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT (regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$FROM \('([^']+)'\)$re$))[1]::timestamptz
    FROM pg_class c WHERE c.oid = to_regclass('task_record_after')
$$;

-- Divides the open partition until `p_weeks` whole weeks after `p_now` have one of their own; returns how many it made.
-- The open one is taken off and put back in one transaction, an instant under an exclusive lock: set a short
-- lock_timeout and try again later. Where records already lie in it (nobody divided for long), it becomes a closed
-- partition of their span, looked through once under the lock, and a new open one follows.
CREATE FUNCTION taskwire_divide_partitions(p_now timestamptz, p_weeks integer) RETURNS integer
LANGUAGE plpgsql SET timezone = 'UTC' SET search_path = public, pg_temp AS $$
DECLARE
    v_from  timestamptz := taskwire_open_from();
    v_until timestamptz := taskwire_week(p_now) + make_interval(weeks => p_weeks + 1);
    v_made  integer := 0;
    v_last  timestamptz;
BEGIN
    IF v_from >= v_until THEN
        RETURN 0;
    END IF;
    SELECT max(recorded_at) INTO v_last FROM task_record_after;
    IF v_last IS NULL THEN
        ALTER TABLE task_record DETACH PARTITION task_record_after;
    ELSE
        v_last := taskwire_week(greatest(v_last, p_now)) + interval '1 week';
        EXECUTE format('ALTER TABLE task_record_after ADD CONSTRAINT task_record_span '
            'CHECK (recorded_at >= %L AND recorded_at < %L)', v_from, v_last);
        ALTER TABLE task_record DETACH PARTITION task_record_after;
        EXECUTE format('ALTER TABLE task_record_after RENAME TO %I', taskwire_partition_name(v_from));
        EXECUTE format('ALTER TABLE task_record ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            taskwire_partition_name(v_from), v_from, v_last);
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT task_record_span', taskwire_partition_name(v_from));
        EXECUTE 'CREATE TABLE task_record_after (LIKE task_record INCLUDING DEFAULTS INCLUDING CONSTRAINTS)';
        v_from := v_last;
        v_made := 1;
    END IF;
    WHILE v_from < v_until LOOP
        EXECUTE format('CREATE TABLE %I (LIKE task_record INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
            taskwire_partition_name(v_from));
        EXECUTE format('ALTER TABLE task_record ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            taskwire_partition_name(v_from), v_from, v_from + interval '1 week');
        v_from := v_from + interval '1 week';
        v_made := v_made + 1;
    END LOOP;
    EXECUTE format('ALTER TABLE task_record ATTACH PARTITION task_record_after FOR VALUES FROM (%L) TO (MAXVALUE)', v_from);
    RETURN v_made;
END
$$;

-- The first partitions: all before this week, this week, the next four, and all after.
DO $$
DECLARE
    v_week timestamptz := taskwire_week(now());
BEGIN
    SET LOCAL timezone = 'UTC';
    EXECUTE format('CREATE TABLE task_record_before PARTITION OF task_record FOR VALUES FROM (MINVALUE) TO (%L)', v_week);
    EXECUTE format('CREATE TABLE task_record_after PARTITION OF task_record FOR VALUES FROM (%L) TO (MAXVALUE)', v_week);
    PERFORM taskwire_divide_partitions(now(), 4);
END
$$;
