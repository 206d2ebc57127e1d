DROP VIEW task_history;
DROP FUNCTION taskwire_history_insert, taskwire_history_inserted, taskwire_history_update, taskwire_history_updated,
    taskwire_history_delete, taskwire_check_result, taskwire_cancel_v1, taskwire_acknowledge_v1, taskwire_report_clock_v1,
    taskwire_overdue_v1, taskwire_report_alive_v1, taskwire_erase_v1, taskwire_append_v1, taskwire_has_known_records,
    taskwire_known_records, taskwire_numbered, taskwire_notify, taskwire_lock_heads,
    taskwire_lock_known_heads, taskwire_take_lease,
    taskwire_hold_lease, taskwire_remove_records, taskwire_remove_tasks, taskwire_close_below;
DROP AGGREGATE taskwire_fold (task, text, text, text, integer, text, double precision, text, text, text, jsonb, bigint,
    timestamptz, uuid);
DROP FUNCTION taskwire_task_after;
DROP TABLE maintenance_lease, storage_upkeep, task_inbox, server_heartbeat, report_clock, user_control, task_record, task_order,
    task, feed_head;
DROP FUNCTION taskwire_divide_partitions, taskwire_open_from, taskwire_bound, taskwire_partition_name;
