-- Partitions of task_record: of a day, a week or a month each, the first open below (task_record_before), the last open above
-- (task_record_after), so that a record always has a place. Bounds are written in +00.
-- Never called by an append: creating a partition there would deadlock with other writers.

-- A partition, named by the day it begins with.
CREATE FUNCTION taskwire_partition_name(p_from timestamptz) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT 'task_record_' || to_char(p_from AT TIME ZONE 'UTC', 'YYYYMMDD')
$$;

-- Where the day, week (from Monday) or month begins, so many of them later.
CREATE FUNCTION taskwire_bound(p_at timestamptz, p_width text, p_later integer DEFAULT 0) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
    SELECT (date_trunc(p_width, p_at AT TIME ZONE 'UTC') + p_later * ('1 ' || p_width)::interval) AT TIME ZONE 'UTC'
$$;

-- The lower bound of the partition that is open above.
CREATE FUNCTION taskwire_open_from() RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT (regexp_match(pg_get_expr(c.relpartbound, c.oid), $re$FROM \('([^']+)'\)$re$))[1]::timestamptz
    FROM pg_class c WHERE c.oid = to_regclass('task_record_after')
$$;

-- Divides the open partition until this day, week or month (`p_width`) and the next `p_ahead` have one of their own; returns
-- how many it made. Where the width was another one before, the first of them is shorter or ends earlier: bounds stay whole.
-- The open one is taken off and put back in one transaction, an instant under an exclusive lock: set a short
-- lock_timeout and try again later. Where records already lie in it (nobody divided for long), it becomes a closed
-- partition of their span, looked through once under the lock, and a new open one follows.
CREATE FUNCTION taskwire_divide_partitions(p_now timestamptz, p_ahead integer, p_width text DEFAULT 'week') RETURNS integer
LANGUAGE plpgsql SET timezone = 'UTC' SET search_path = public, pg_temp AS $$
DECLARE
    v_from  timestamptz := taskwire_open_from();
    v_until timestamptz := taskwire_bound(p_now, p_width, p_ahead + 1);
    v_made  integer := 0;
    v_last  timestamptz;
    v_to    timestamptz;
BEGIN
    IF v_from >= v_until THEN
        RETURN 0;
    END IF;
    SELECT max(recorded_at) INTO v_last FROM task_record_after;
    IF v_last IS NULL THEN
        ALTER TABLE task_record DETACH PARTITION task_record_after;
    ELSE
        v_last := taskwire_bound(greatest(v_last, p_now), p_width, 1);
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
        v_to := taskwire_bound(v_from, p_width, 1);
        -- Nobody divided for very long: one for all that time, since each costs every plan.
        IF v_to < taskwire_bound(p_now, p_width) AND taskwire_bound(v_from, p_width, 60) < v_until THEN
            v_to := taskwire_bound(p_now, p_width);
        END IF;
        EXECUTE format('CREATE TABLE %I (LIKE task_record INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
            taskwire_partition_name(v_from));
        EXECUTE format('ALTER TABLE task_record ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            taskwire_partition_name(v_from), v_from, v_to);
        v_from := v_to;
        v_made := v_made + 1;
    END LOOP;
    EXECUTE format('ALTER TABLE task_record ATTACH PARTITION task_record_after FOR VALUES FROM (%L) TO (MAXVALUE)', v_from);
    RETURN v_made;
END
$$;

-- The first partitions: all before this week, this week, the next four, and all after.
DO $$
DECLARE
    v_week timestamptz := taskwire_bound(now(), 'week');
BEGIN
    SET LOCAL timezone = 'UTC';
    EXECUTE format('CREATE TABLE task_record_before PARTITION OF task_record FOR VALUES FROM (MINVALUE) TO (%L)', v_week);
    EXECUTE format('CREATE TABLE task_record_after PARTITION OF task_record FOR VALUES FROM (%L) TO (MAXVALUE)', v_week);
    PERFORM taskwire_divide_partitions(now(), 4);
END
$$;
