-- Dead letters: one row for every event of a mapping that failed at least once. While it is retried the row counts its
-- attempts (state retrying), so that crashes and outages, which also raise NumDelivered, are not held against it; when it
-- is buried the row holds everything needed to understand and replay it.
--
-- Column order: the fixed eight-byte columns, then the four-byte ones, then the variable ones, short before long, so
-- that no row carries alignment padding and the columns a listing reads come before the values Postgres moves out of
-- line (TOAST). An update that leaves payload alone does not rewrite it.
--
-- Constraints guard what Penstock itself produces: states, classes, counters. Nothing is demanded of what strangers
-- send (subjects, keys, error texts, payloads): a row that cannot be stored would be an event that can be lost.
create table penstock.dead_letters (
    id              bigint generated always as identity primary key,
    stream_seq      bigint not null,
    -- When the stream was created, in Unix nanoseconds, 0 when unknown. A stream that is deleted and made anew counts
    -- from 1 again: without its birthday a fresh event would be taken for the letter of an old one and be lost.
    stream_epoch    bigint not null default 0,
    first_failed_at timestamptz not null,
    last_failed_at  timestamptz not null,
    resolved_at     timestamptz,

    attempts        integer not null,
    replays         integer not null default 0,

    state           text not null,
    error_class     text not null,
    error_code      text not null,
    stream          text not null,
    mapping         text not null,
    object          text not null,
    subject         text not null,
    external_id     text not null,
    version         text not null,
    error_message   text not null,
    discarded_by    text,
    discard_reason  text,

    -- Every attempt, oldest first: the first one and the newest fifty are kept.
    attempt_log     jsonb not null,
    -- The record as it was last sent, for people who query it; null before the mapping made one. Postgres refuses some
    -- valid JSON as jsonb (a NUL escape, half a surrogate pair, a number beyond numeric): such a record is kept in
    -- record_raw instead, byte for byte.
    record          jsonb,
    record_raw      bytea,
    -- Headers as netstrings (name, value, name, value, ...; cr.yp.to/proto/netstrings.txt), names sorted, the values of
    -- one name in their order. Not jsonb and not the NATS wire form: neither keeps every byte a header may hold.
    -- To read them: select convert_from(headers, 'UTF8').
    headers         bytea not null,
    -- The event as it came, never changed.
    payload         bytea not null,

    constraint dead_letters_event_key unique (stream, stream_seq, mapping, stream_epoch),

    constraint dead_letters_state_known check (state in
        ('retrying', 'recovered', 'dead', 'queued', 'replaying', 'resolved', 'superseded', 'discarded', 'parked')),
    constraint dead_letters_class_known check (error_class in
        ('transient', 'dependency', 'permanent', 'system', 'auth')),
    constraint dead_letters_sequence_positive check (stream_seq > 0),
    constraint dead_letters_failed_once check (attempts >= 1 and replays >= 0),
    constraint dead_letters_failures_in_order check (first_failed_at <= last_failed_at),
    constraint dead_letters_log_is_array check (jsonb_typeof(attempt_log) = 'array'),
    constraint dead_letters_one_record check (record is null or record_raw is null),
    constraint dead_letters_resolved_at_the_end check ((resolved_at is not null) =
        (state in ('recovered', 'resolved', 'superseded', 'discarded'))),
    constraint dead_letters_discard_signed check (
        (discarded_by is not null) = (state = 'discarded') and (discard_reason is not null) = (state = 'discarded'))
) with (
    -- A letter is updated a few times in its young life. Room on its page, and no index on a column that every attempt
    -- changes (last_failed_at, attempts), spare part of these updates the indexes (HOT).
    fillfactor = 85
);

-- Lists are paged by id, newest first, within whatever was selected on. Ids are given in order of first failure, so
-- a selection by time alone walks the primary key.
create index dead_letters_by_state on penstock.dead_letters (state, id);
create index dead_letters_by_mapping on penstock.dead_letters (mapping, id);
create index dead_letters_by_code on penstock.dead_letters (error_code, id);
-- Counts by state and the oldest letter of a state are read from this index alone. first_failed_at never changes.
create index dead_letters_by_age on penstock.dead_letters (state, first_failed_at);
-- A key comes from an event and may be of any length; an index entry may not. Queries compare both the prefix and the key.
create index dead_letters_by_key on penstock.dead_letters (left(external_id, 255), id) where external_id <> '';

-- The moves a letter may make; deadletter/state.go says who makes them and why. A row may be inserted in any state, so
-- that a backup or an export can be put back. A later migration that needs another move replaces this function.
create function penstock.dead_letters_guard_move() returns trigger language plpgsql as $$
begin
    if (old.state, new.state) not in (
        ('retrying', 'recovered'), ('retrying', 'dead'),
        ('recovered', 'retrying'), ('recovered', 'dead'),
        ('dead', 'queued'), ('dead', 'discarded'),
        ('queued', 'replaying'), ('queued', 'dead'), ('queued', 'parked'),
        ('replaying', 'resolved'), ('replaying', 'superseded'), ('replaying', 'dead'), ('replaying', 'parked'),
        ('parked', 'queued'), ('parked', 'discarded')
    ) then
        raise exception using
            errcode = 'check_violation',
            schema = tg_table_schema, table = tg_table_name, constraint = tg_name,
            message = format('dead letter %s cannot go from %s to %s', old.id, old.state, new.state);
    end if;
    return new;
end
$$;

create trigger dead_letters_move before update on penstock.dead_letters
    for each row when (old.state is distinct from new.state)
    execute function penstock.dead_letters_guard_move();

-- A log with more attempts appended, cut to its first attempt and its newest ones: the first tells how the trouble
-- began, the newest how it is now, and an event that fails for weeks does not grow its row without end.
create function penstock.attempt_log_append(log jsonb, more jsonb, newest integer) returns jsonb
language sql immutable strict as $$
    select case
        when jsonb_array_length(log || more) <= newest + 1 then log || more
        else jsonb_build_array((log || more) -> 0)
            || jsonb_path_query_array(log || more, '$[last - $back to last]', jsonb_build_object('back', newest - 1))
    end
$$;

---- create above / drop below ----

drop table penstock.dead_letters;
drop function penstock.dead_letters_guard_move();
drop function penstock.attempt_log_append(jsonb, jsonb, integer);
